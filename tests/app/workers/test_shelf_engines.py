"""The shelf with the engines of the pack that ships: a second version takes the place of the first, which is freed."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.access import Access
from app.catalogue import Catalogue
from app.errors import InsufficientMemory
from app.packs import Pack, find_pack
from app.workers.base import ChatRequest, LanguageModel, ReplyPart, TextDelta
from app.workers.connect import load_language, load_recognizer, load_synthesizer, reach_language
from app.workers.scripted import ScriptedLanguage
from app.workers.server import language_app
from app.workers.shelf import Shelf
from app.workers.shelved import ShelvedLanguage, ShelvedRecognizer, ShelvedSynthesizer
from tests.packs import starter
from tests.serving import serving
from tests.sounds import flite


@pytest.fixture
def packs(tmp_path: Path) -> Catalogue:
    """The starter in two versions that differ only by name."""
    pack = starter()
    (tmp_path / pack.name).symlink_to(pack.folder)
    second = tmp_path / f"{pack.name}@2"
    shutil.copytree(pack.folder, second)  # links would lead out of it, which no pack may
    manifest = (pack.folder / "pack.toml").read_text().replace(f'version = "{pack.version}"', 'version = "2"')
    (second / "pack.toml").unlink()
    (second / "pack.toml").write_text(manifest)
    return Catalogue(find_pack(tmp_path, pack.name), tmp_path)


def shelf_of(packs: Catalogue, build: Callable[[Pack], Any]) -> Shelf[Any]:
    return Shelf("stage", packs, build, lambda pack: pack.folder, resident=1, free_memory=lambda: 10**9)


async def freed(engine: weakref.ref[Any]) -> bool:
    """Whether an evicted engine is gone; its threads may still be about to end."""
    async with asyncio.timeout(20):
        while engine() is not None:
            gc.collect()
            await asyncio.sleep(0.05)
    return True


async def test_recognizers(packs: Catalogue) -> None:
    shelf = shelf_of(packs, lambda pack: load_recognizer(pack, "whisper", device="cpu"))
    recognizer = ShelvedRecognizer(shelf)
    pcm = flite("what time is it", "slt", 16_000)

    async def heard(model: str) -> str:
        recognition = await recognizer.start(model=model)
        recognition.feed(pcm)
        return (await recognition.finish()).text

    before = await heard("en-starter")
    first = weakref.ref(shelf.loaded()[0].engine)
    assert before == await heard("en-starter@2") != ""
    assert await freed(first)
    shelf.close()


async def test_language_models(packs: Catalogue) -> None:
    shelf = shelf_of(packs, lambda pack: load_language(pack, device="cpu"))
    language = ShelvedLanguage(shelf)
    request = ChatRequest(messages=[{"role": "user", "content": "hello"}], temperature=0.0)
    before = [part async for part in language.reply(request)]
    first = weakref.ref(shelf.loaded()[0].engine)
    after = [
        part async for part in language.reply(ChatRequest(request.messages, model="en-starter@2", temperature=0.0))
    ]
    assert text_of(before) == text_of(after) != ""
    assert await freed(first)
    shelf.close()


async def test_voices(packs: Catalogue) -> None:
    shelf = shelf_of(packs, lambda pack: load_synthesizer(pack))
    voice = ShelvedSynthesizer(shelf)
    before = [chunk.pcm async for chunk in voice.speak("Hello.")]
    first = weakref.ref(shelf.loaded()[0].engine)
    assert before == [chunk.pcm async for chunk in voice.speak("Hello.", model="en-starter@2")]
    assert await freed(first)
    shelf.close()


async def test_a_language_worker_without_memory_is_gone_round(packs: Catalogue) -> None:
    short: Shelf[LanguageModel] = Shelf(
        "language",
        packs,
        lambda pack: ScriptedLanguage([]),
        lambda pack: pack.folder,
        resident=1,
        free_memory=lambda: 0,
    )
    first = language_app(ShelvedLanguage(short), access=Access(), model="en-starter", models=packs)
    second = language_app(ScriptedLanguage(["Hello."]), access=Access(), model="en-starter", models=packs)
    request = ChatRequest(messages=[{"role": "user", "content": "hello"}], model="en-starter@2")
    async with serving(first) as one, serving(second) as two:
        with pytest.raises(InsufficientMemory, match="loading en-starter@2 takes about"):
            [_ async for _ in reach_language(one).reply(request)]
        assert text_of([part async for part in reach_language(f"{one},{two}").reply(request)]) == "Hello."


def text_of(parts: list[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))
