"""The three stages over a shelf of packs: each use takes the pack that it names and gives it back. Knows no engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar, Unpack

from app.audio import Pcm16
from app.reply import close
from app.workers.base import (
    Asked,
    ChatRequest,
    Health,
    LanguageModel,
    Recognition,
    Recognizer,
    ReplyPart,
    SpeechChunk,
    Synthesizer,
    Transcript,
)
from app.workers.shelf import Shelf

S = TypeVar("S", Recognizer, LanguageModel, Synthesizer)
T = TypeVar("T")


class ShelvedRecognizer:
    """Satisfies Recognizer; `model` chooses the pack."""

    def __init__(self, shelf: Shelf[Recognizer]) -> None:
        self._shelf = shelf
        self.close = shelf.close

    async def start(self, **asked: Unpack[Asked]) -> ShelvedRecognition:
        """Opens an utterance with its pack's engine. Raises what that does, and what `Shelf.take` does."""
        shelved = await self._shelf.take(asked.get("model", ""))
        try:
            recognition = await shelved.engine.start(**asked)
        except BaseException:
            self._shelf.give_back(shelved)
            raise
        return ShelvedRecognition(recognition, lambda: self._shelf.give_back(shelved))

    async def health(self) -> Health:
        """That of the pack used last, and which packs are loaded."""
        return await _health(self._shelf)


class ShelvedRecognition:
    """One utterance, which holds its pack until its end."""

    def __init__(self, recognition: Recognition, give_back: Callable[[], None]) -> None:
        self._recognition = recognition
        self._give_back: Callable[[], None] | None = give_back

    def feed(self, frame: Pcm16) -> None:
        """To the engine."""
        self._recognition.feed(frame)

    def hypotheses(self) -> AsyncIterator[str]:
        """The engine's."""
        return self._recognition.hypotheses()

    async def finish(self) -> Transcript:
        """The engine's transcript. Raises WorkerError."""
        try:
            return await self._recognition.finish()
        finally:
            self._end()

    async def abort(self) -> None:
        """Forgets the utterance."""
        try:
            await self._recognition.abort()
        finally:
            self._end()

    def _end(self) -> None:
        if self._give_back is not None:
            self._give_back()
            self._give_back = None


class ShelvedLanguage:
    """Satisfies LanguageModel; a request's `model` chooses the pack."""

    def __init__(self, shelf: Shelf[LanguageModel]) -> None:
        self._shelf = shelf
        self.close = shelf.close

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """As its pack's model writes it. Raises what that does, and what `Shelf.take` does."""
        parts = _stream(self._shelf, request.model, lambda engine: engine.reply(request))
        try:
            async for part in parts:
                yield part
        finally:
            await close(parts)

    async def health(self) -> Health:
        """That of the pack used last, and which packs are loaded."""
        return await _health(self._shelf)


class ShelvedSynthesizer:
    """Satisfies Synthesizer; `model` chooses the pack."""

    def __init__(self, shelf: Shelf[Synthesizer]) -> None:
        self._shelf = shelf
        self.close = shelf.close

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """Speech by its pack's voice. Raises what that does, and what `Shelf.take` does."""
        chunks = _stream(self._shelf, model, lambda engine: engine.speak(text, voice=voice, speed=speed, model=model))
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await close(chunks)

    async def health(self) -> Health:
        """That of the pack used last, and which packs are loaded."""
        return await _health(self._shelf)


async def _stream(shelf: Shelf[S], model: str, open: Callable[[S], AsyncIterator[T]]) -> AsyncIterator[T]:
    """What the pack's engine gives; the pack is held until the end, or until this iterator is closed."""
    shelved = await shelf.take(model)
    try:
        items = open(shelved.engine)
        try:
            async for item in items:
                yield item
        finally:
            await close(items)
    finally:
        shelf.give_back(shelved)


async def _health(shelf: Shelf[S]) -> Health:
    loaded = shelf.loaded()
    packs = {"packs": [each.pack.reference for each in loaded]}
    if not loaded:
        return Health(shelf.stage, "none", shelf.packs.find("").name, packs)
    health = await loaded[0].engine.health()
    return Health(health.stage, health.engine, health.model, {**health.detail, **packs})
