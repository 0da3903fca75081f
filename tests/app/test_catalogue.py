"""Several packs in one service: by name, by version, by alias; a promoted version reaches new sessions alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from app.catalogue import Catalogue
from app.errors import PackError, UnknownModel
from app.gateway import GatewayOptions, create_app
from app.packs import find_pack
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import Caller, calling
from tests.serving import serving
from tests.sounds import flite

MANIFEST = """
[pack]
format = 1
name = "{name}"
version = "{version}"
language = "{language}"
[language]
prompt = "I am {name} {version}."
base_hash = "{base}"
[voice]
names = ["scripted"]
"""


def write(root: Path, folder: str, *, version: str = "1", language: str = "en", base: str = "") -> None:
    """A pack without weights."""
    (root / folder).mkdir()
    name = folder.partition("@")[0]
    manifest = MANIFEST.format(name=name, version=version, language=language, base=base)
    (root / folder / "pack.toml").write_text(manifest)


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """english 1 and 2, the first one current; german 1."""
    write(tmp_path, "english")
    write(tmp_path, "english@2", version="2")
    write(tmp_path, "german", language="de", base="f00d")
    return tmp_path


@asynccontextmanager
async def service(packs: Path) -> AsyncIterator[tuple[str, Workers]]:
    """A gateway on scripted workers, with english as its default."""
    workers = Workers(
        ScriptedRecognizer(["what time is it"], repeat=True),
        ScriptedLanguage(["It is ten past four."], repeat=True),
        ScriptedSynthesizer(),
    )
    options = GatewayOptions(audio_ahead_seconds=1000.0, packs=packs)
    async with serving(create_app(find_pack(packs, "english"), workers, options=options)) as url:
        yield url, workers


async def turn(caller: Caller) -> None:
    await caller.say(flite("what time is it"), then_silence=1.0)
    assert (await caller.until("response.done"))["response"]["status"] == "completed"


def asked_for(workers: Workers) -> list[tuple[str, str, str]]:
    """The model that each turn asked of recognizer, language model and voice."""
    recognizer, language, voice = workers.recognizer, workers.language, workers.synthesizer
    assert isinstance(recognizer, ScriptedRecognizer)
    assert isinstance(language, ScriptedLanguage)
    assert isinstance(voice, ScriptedSynthesizer)
    heard = [asked["model"] for asked in recognizer.asked]
    return list(zip(heard, [request.model for request in language.requests], voice.models, strict=True))


async def test_a_session_names_its_pack_and_every_stage_is_told(packs: Path) -> None:
    async with service(packs) as (url, workers):
        async with calling(url, "?model=german") as german, calling(url, "?model=gpt-realtime") as default:
            await turn(german)
            await turn(default)
        assert isinstance(workers.language, ScriptedLanguage)
        first, second = workers.language.requests
    assert asked_for(workers) == [("german@1",) * 3, ("english@1",) * 3]
    assert [request.messages[0]["content"] for request in (first, second)] == ["I am german 1.", "I am english 1."]
    assert (first.base_sha256, second.base_sha256) == ("f00d", "")
    assert german.log[0]["session"]["model"] == "german"


async def test_a_promoted_version_is_for_new_sessions_and_a_running_one_keeps_its_own(packs: Path) -> None:
    async with service(packs) as (url, workers):
        async with calling(url) as running:
            await turn(running)
            (packs / "english.current").write_text("2\n")
            async with calling(url) as new:
                await turn(new)
            await turn(running)
            await running.send("session.update", session={"model": "english"})
            await running.until("session.updated")
        (packs / "english.current").write_text("1\n")
        async with calling(url) as rolled_back, httpx.AsyncClient() as client:
            await turn(rolled_back)
            assert (await client.get(f"{url}/health")).json()["pack"]["version"] == "1"
    assert [models[0] for models in asked_for(workers)] == ["english@1", "english@2", "english@1", "english@1"]


async def test_an_unknown_pack_is_refused_by_naming_those_there_are(packs: Path) -> None:
    async with service(packs) as (url, _), httpx.AsyncClient(base_url=url) as client:
        with pytest.raises(InvalidStatus) as refused:
            async with calling(url, "?model=french"):
                pass
        body = {"model": "french", "messages": [{"role": "user", "content": "bonjour"}]}
        answer = await client.post("/v1/chat/completions", json=body)
    assert refused.value.response.status_code == 404
    assert b"english, english@2, german" in (refused.value.response.body or b"")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_rest_lists_packs_and_asks_for_one(packs: Path) -> None:
    async with service(packs) as (url, workers), httpx.AsyncClient(base_url=url) as client:
        listed = (await client.get("/v1/models")).json()
        assert (await client.get("/v1/models/english@2")).status_code == 200
        body = {"model": "german", "messages": [{"role": "user", "content": "hallo"}]}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        speech = {"model": "english@2", "input": "Hello.", "voice": "alloy", "response_format": "pcm"}
        assert (await client.post("/v1/audio/speech", json=speech)).status_code == 200
    assert [model["id"] for model in listed["data"]] == ["english", "english@2", "german"]
    assert isinstance(workers.language, ScriptedLanguage)
    assert isinstance(workers.synthesizer, ScriptedSynthesizer)
    assert (workers.language.requests[0].model, workers.language.requests[0].base_sha256) == ("german@1", "f00d")
    assert workers.synthesizer.models == ["english@2"]


def test_a_pinned_default_stays(packs: Path) -> None:
    pinned = Catalogue(find_pack(packs, "english@1"), packs, name="english@1")
    floating = Catalogue(find_pack(packs, "english"), packs, name="english")
    (packs / "english.current").write_text("2")
    assert (pinned.find("").version, floating.find("").version) == ("1", "2")
    assert floating.find("english@1").version == "1"


def test_a_changed_manifest_is_read_again_and_a_broken_one_is_said(packs: Path) -> None:
    catalogue = Catalogue(find_pack(packs, "english"), packs)
    manifest = packs / "german" / "pack.toml"
    assert catalogue.find("german") is catalogue.find("german")
    manifest.write_text("[pack")
    os.utime(manifest, ns=(1, 1))  # a clock's grain must not hide the change
    with pytest.raises(PackError, match="is not TOML"):
        catalogue.find("german")


def test_without_a_folder_there_is_one_pack() -> None:
    catalogue = Catalogue(SCRIPTED)
    assert catalogue.find("whisper-1") is catalogue.find("scripted@1") is SCRIPTED
    assert catalogue.names() == ["scripted"]
    with pytest.raises(UnknownModel, match="there is: scripted"):
        catalogue.find("other")
