"""Several packs in one worker: loaded on demand, held while used, evicted when idle, refused where memory is short."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from app.catalogue import Catalogue
from app.errors import InsufficientMemory, PackInUse, UnknownModel, WorkerBusy
from app.packs import Pack
from app.reply import close
from app.workers.base import ChatRequest, LanguageModel, Recognizer, Synthesizer, TextDelta
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedSynthesizer
from app.workers.shelf import MEMORY_FACTOR, Shelf, free_memory
from app.workers.shelved import ShelvedLanguage, ShelvedRecognizer, ShelvedSynthesizer
from tests.shelves import WEIGHTS, Closing, Memory, heard, packs_in, shelf_of


@pytest.fixture
def packs(tmp_path: Path) -> Catalogue:
    return packs_in(tmp_path)


def references(shelf: Shelf[Recognizer]) -> list[str]:
    return [shelved.pack.reference for shelved in shelf.loaded()]


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


async def test_who_leaves_while_a_pack_loads_leaves_it_loaded(packs: Catalogue) -> None:
    building, go_on = threading.Event(), threading.Event()

    def slowly(pack: Pack) -> Closing:
        building.set()
        go_on.wait(20)
        return Closing(pack)

    shelf: Shelf[Recognizer] = Shelf(
        "recognizer", packs, slowly, lambda pack: pack.recognizer_folder, resident=2, free_memory=lambda: 1_000_000
    )
    recognizer = ShelvedRecognizer(shelf)
    leaving, staying = (asyncio.create_task(heard(recognizer, "b")) for _ in range(2))
    await asyncio.to_thread(building.wait, 20)
    leaving.cancel()
    go_on.set()
    assert await staying == "b@1"
    assert leaving.cancelled()
    assert [state["in_use"] for state in shelf.states() if state["state"] == "loaded"] == [0]


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


def test_free_memory_is_that_of_this_machine() -> None:
    with open("/proc/meminfo", encoding="ascii") as lines:
        total = int(lines.readline().split()[1]) * 1024
    assert 0 < free_memory() <= total
