"""Several packs in one worker: loaded on demand, held while used, evicted when idle, refused where memory is short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.access import Access
from app.catalogue import Catalogue
from app.errors import InsufficientMemory, PackInUse, UnknownModel, WorkerBusy
from app.packs import Pack, find_pack
from app.reply import close
from app.workers.base import ChatRequest, LanguageModel, Recognizer, Synthesizer, TextDelta
from app.workers.connect import reach_recognizer, reach_synthesizer
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from app.workers.server import recognizer_app, synthesizer_app
from app.workers.shelf import MEMORY_FACTOR, Shelf, free_memory
from app.workers.shelf_routes import shelf_routes
from app.workers.shelved import ShelvedLanguage, ShelvedRecognizer, ShelvedSynthesizer
from tests.serving import serving

WEIGHTS = 1000  # bytes of each pack


class Closing(ScriptedRecognizer):
    """A recognizer that hears its pack's reference, and knows whether it was closed."""

    def __init__(self, pack: Pack) -> None:
        super().__init__([pack.reference], repeat=True)
        self.closed = False

    def close(self) -> None:
        self.closed = True


@dataclass
class Memory:
    """What the shelf under test believes to be free."""

    free: int = 1_000_000
    built: list[str] = field(default_factory=list)


@pytest.fixture
def packs(tmp_path: Path) -> Catalogue:
    """a (version 1, and 2 beside it), b, c; each with WEIGHTS bytes of weights."""
    for folder, version in (("a", "1"), ("a@2", "2"), ("b", "1"), ("c", "1")):
        weights = tmp_path / folder / "recognizer"
        weights.mkdir(parents=True)
        (weights / "model.bin").write_bytes(bytes(WEIGHTS))
        head = f'format = 1\nname = "{folder[0]}"\nversion = "{version}"\nlanguage = "en"\n'
        (tmp_path / folder / "pack.toml").write_text(f"[pack]\n{head}")
    return Catalogue(find_pack(tmp_path, "a"), tmp_path)


def shelf_of(packs: Catalogue, memory: Memory, *, resident: int = 2) -> Shelf[Recognizer]:
    def build(pack: Pack) -> Closing:
        memory.built.append(pack.reference)
        return Closing(pack)

    shelf: Shelf[Recognizer] = Shelf(
        "recognizer",
        packs,
        build,
        lambda pack: pack.recognizer_folder,
        resident=resident,
        free_memory=lambda: memory.free,
    )
    shelf.load_default()
    return shelf


def references(shelf: Shelf[Recognizer]) -> list[str]:
    return [shelved.pack.reference for shelved in shelf.loaded()]


async def heard(recognizer: Recognizer, model: str) -> str:
    return (await (await recognizer.start(model=model)).finish()).text


async def test_a_pack_is_loaded_once_when_it_is_first_asked_for(packs: Catalogue) -> None:
    memory = Memory()
    recognizer = ShelvedRecognizer(shelf_of(packs, memory))
    texts = await asyncio.gather(*(heard(recognizer, name) for name in ("b", "b@1", "a", "", "whisper-1")))
    assert texts == ["b@1", "b@1", "a@1", "a@1", "a@1"]
    assert memory.built == ["a@1", "b@1"]
    with pytest.raises(UnknownModel, match="there is: a, a@2, b, c"):
        await recognizer.start(model="z")


async def test_the_idle_pack_not_used_for_longest_makes_room(packs: Catalogue) -> None:
    shelf = shelf_of(packs, Memory())
    recognizer = ShelvedRecognizer(shelf)
    await heard(recognizer, "b")
    await heard(recognizer, "a")
    evicted = shelf.loaded()[-1].engine
    await heard(recognizer, "c")
    assert references(shelf) == ["c@1", "a@1"]
    assert isinstance(evicted, Closing)
    assert evicted.closed


async def test_a_pack_in_use_is_neither_evicted_nor_unloaded(packs: Catalogue) -> None:
    shelf = shelf_of(packs, Memory())
    recognizer = ShelvedRecognizer(shelf)
    first, second = await recognizer.start(model="a"), await recognizer.start(model="b")
    with pytest.raises(WorkerBusy, match="2 packs are loaded and in use, the limit is 2"):
        await recognizer.start(model="c")
    with pytest.raises(PackInUse, match="a@1 is in use 1 times"):
        await shelf.unload("a")
    await first.abort()
    await first.abort()  # twice is once
    assert await heard(recognizer, "c") == "c@1"
    assert references(shelf) == ["c@1", "b@1"]
    assert (await second.finish()).text == "b@1"
    await shelf.unload("b")
    with pytest.raises(UnknownModel, match="b@1 is not loaded; loaded are: c@1"):
        await shelf.unload("b")


async def test_a_promoted_version_is_loaded_beside_the_one_that_runs(packs: Catalogue, tmp_path: Path) -> None:
    recognizer = ShelvedRecognizer(shelf_of(packs, Memory()))
    running = await recognizer.start(model="a@1")
    (tmp_path / "a.current").write_text("2")
    assert await heard(recognizer, "a") == "a@2"
    assert (await running.finish()).text == "a@1"
    (tmp_path / "a" / "pack.toml").unlink()
    assert await heard(recognizer, "a@1") == "a@1"  # loaded: a session may end on it, though it is gone from disk


async def test_short_memory_evicts_what_is_idle_and_only_if_that_helps(packs: Catalogue) -> None:
    memory = Memory()
    shelf = shelf_of(packs, memory, resident=9)
    recognizer = ShelvedRecognizer(shelf)
    await heard(recognizer, "b")
    need = int(MEMORY_FACTOR * WEIGHTS)
    memory.free = -need - 1
    with pytest.raises(
        InsufficientMemory, match=r"loading c@1 takes about 0 MiB, -1 MiB are free; unload a pack first"
    ):
        await recognizer.start(model="c")
    assert references(shelf) == ["b@1", "a@1"]
    memory.free = 0
    with pytest.raises(InsufficientMemory):  # evicting freed nothing that can be seen
        await recognizer.start(model="c")
    memory.free = need
    assert await heard(recognizer, "c") == "c@1"


async def test_a_failed_start_and_a_failed_build_hold_nothing(packs: Catalogue) -> None:
    class Full(Closing):
        def __init__(self, pack: Pack) -> None:
            super().__init__(pack)
            self._slots = 0
            if pack.name == "c":
                raise OSError("the disk is broken")

    shelf: Shelf[Recognizer] = Shelf(
        "recognizer", packs, Full, lambda pack: pack.recognizer_folder, resident=2, free_memory=lambda: 1_000_000
    )
    recognizer = ShelvedRecognizer(shelf)
    with pytest.raises(WorkerBusy, match="limit is 0"):
        await recognizer.start(model="b")
    with pytest.raises(OSError, match="broken"):
        await recognizer.start(model="c")
    await shelf.unload("b")
    assert (await recognizer.health()).detail == {"packs": []}


async def test_replies_and_clauses_hold_their_pack_until_they_end(packs: Catalogue) -> None:
    def engine(pack: Pack) -> ScriptedLanguage:
        return ScriptedLanguage([[pack.reference, HOLD]], repeat=True)

    shelf: Shelf[LanguageModel] = Shelf(
        "language", packs, engine, lambda pack: pack.recognizer_folder, resident=2, free_memory=lambda: 1_000_000
    )
    parts = ShelvedLanguage(shelf).reply(ChatRequest(messages=[], model="b"))
    assert await anext(parts) == TextDelta("b@1")
    with pytest.raises(PackInUse):
        await shelf.unload("b")
    await close(parts)
    await shelf.unload("b")
    voices: Shelf[Synthesizer] = Shelf(
        "synthesizer",
        packs,
        lambda pack: ScriptedSynthesizer(),
        lambda pack: pack.recognizer_folder,
        resident=1,
        free_memory=lambda: 1_000_000,
    )
    chunks = ShelvedSynthesizer(voices).speak("Hello there.", model="c")
    await anext(chunks)
    assert voices.states()[0] == {"id": "c@1", "state": "loaded", "in_use": 1, "bytes": int(MEMORY_FACTOR * WEIGHTS)}
    await close(chunks)
    assert voices.states()[0]["in_use"] == 0


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


def test_free_memory_is_that_of_this_machine() -> None:
    with open("/proc/meminfo", encoding="ascii") as lines:
        total = int(lines.readline().split()[1]) * 1024
    assert 0 < free_memory() <= total
