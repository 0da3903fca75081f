"""A worker's packs over HTTP and the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.access import Access
from app.catalogue import Catalogue
from app.errors import InsufficientMemory
from app.packs import Pack
from app.workers.base import Recognizer, Synthesizer
from app.workers.connect import reach_recognizer, reach_synthesizer
from app.workers.scripted import ScriptedSynthesizer
from app.workers.server import recognizer_app, synthesizer_app
from app.workers.shelf import Shelf
from app.workers.shelf_routes import shelf_routes
from app.workers.shelved import ShelvedRecognizer, ShelvedSynthesizer
from tests.serving import serving
from tests.shelves import Closing, Memory, packs_in, shelf_of


@pytest.fixture
def packs(tmp_path: Path) -> Catalogue:
    return packs_in(tmp_path)


def worker(shelf: Shelf[Recognizer], access: Access | None = None) -> FastAPI:
    recognizer = ShelvedRecognizer(shelf)
    app = recognizer_app(recognizer, access=access or Access(), model="a", models=shelf.packs)
    app.include_router(shelf_routes(shelf))
    return app


@pytest.fixture
async def client(packs: Catalogue) -> AsyncIterator[httpx.AsyncClient]:
    """Of a worker that has room for two packs."""
    async with serving(worker(shelf_of(packs, Memory()))) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def test_an_operator_loads_and_unloads_over_http(client: httpx.AsyncClient, tmp_path: Path) -> None:
    assert (await client.post("/packs/b/load")).json()["id"] == "b@1"
    listed = {pack["id"]: pack["state"] for pack in (await client.get("/packs")).json()["data"]}
    assert listed == {"a@1": "loaded", "b@1": "loaded", "a@2": "on disk", "c@1": "on disk"}
    (tmp_path / "c" / "pack.toml").write_text("[pack")
    broken = (await client.get("/packs")).json()["data"][-1]
    assert (broken["id"], broken["state"]) == ("c", "broken")
    assert "is not TOML" in broken["error"]
    recognition = await reach_recognizer(str(client.base_url)).start(model="b@1")
    refused = await client.post("/packs/b@1/unload")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "pack_in_use")
    assert (await recognition.finish()).text == "b@1"
    assert (await client.get("/health")).json()["detail"]["packs"] == ["b@1", "a@1"]
    async with asyncio.timeout(5):
        while (await client.post("/packs/b@1/unload")).status_code == 409:
            pass  # the worker notices the closed socket a moment later
    missing = await client.post("/packs/z/load")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_short_memory_is_507_over_http_and_typed_over_the_wire(packs: Catalogue) -> None:
    memory = Memory()
    async with serving(worker(shelf_of(packs, memory))) as url, httpx.AsyncClient(base_url=url) as client:
        memory.free = -1_000_000
        refused = await client.post("/packs/b/load")
        with pytest.raises(InsufficientMemory):
            await reach_recognizer(url).start(model="b")
    assert (refused.status_code, refused.json()["error"]["code"]) == (507, "insufficient_memory")


async def test_packs_are_behind_the_key(packs: Catalogue) -> None:
    access = Access(api_keys=frozenset({"sk-right"}))
    async with serving(worker(shelf_of(packs, Memory()), access)) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/packs/b/load")).status_code == 401
        header = {"authorization": "Bearer sk-right"}
        assert (await client.post("/packs/b/load", headers=header)).status_code == 200


async def test_a_worker_closes_its_engines_when_it_ends(packs: Catalogue) -> None:
    shelf = shelf_of(packs, Memory())
    engine = shelf.loaded()[0].engine
    async with serving(worker(shelf)):
        pass
    assert isinstance(engine, Closing)
    assert engine.closed


async def test_a_voice_is_chosen_by_pack_over_the_wire(packs: Catalogue) -> None:
    def build(pack: Pack) -> ScriptedSynthesizer:
        return ScriptedSynthesizer(sample_rate=16_000 if pack.name == "b" else 24_000)

    shelf: Shelf[Synthesizer] = Shelf(
        "synthesizer", packs, build, lambda pack: pack.folder, resident=2, free_memory=lambda: 1_000_000
    )
    app = synthesizer_app(ShelvedSynthesizer(shelf), access=Access(), model="a", models=packs)
    async with serving(app) as url:
        stage = reach_synthesizer(url)
        rates = [(await anext(stage.speak("Hi.", model=model))).sample_rate for model in ("a", "b@1", "")]
    assert rates == [24_000, 16_000, 24_000]
