"""*How it streams*: deltas to clauses to speech, as async generators. Knows no session, socket or engine.

Closing any of these generators closes what it draws from, so that a barge-in reaches the engines at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from app.audio import REALTIME_RATE, Pcm16, Resampler, seconds_of
from app.workers.base import Synthesizer

CLAUSES_AHEAD = 4  # written while an earlier one is spoken; more would be thrown away by a barge-in
CHUNKS_AHEAD = 2  # of speech, made while earlier ones are sent; more would keep the voice from those who wait for it

_ABBREVIATIONS = r"(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bSt)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])"
_SENTENCE_END = re.compile(rf"{_ABBREVIATIONS}[.!?…]+[\"')\]]*\s+|[。！？]\s*|\n+")
_PAUSE = re.compile(r"[,;:]\s+|\s[–—-]\s|[、，；：]\s*")

T = TypeVar("T")


async def ahead(source: AsyncIterator[T], limit: int) -> AsyncGenerator[T, None]:
    """The same items, drawn up to `limit` ahead of the reader in a task of their own."""
    queue: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue(limit)

    async def pump() -> None:
        try:
            async for item in source:
                await queue.put((item,))
            await queue.put(None)
        except Exception as error:
            await queue.put(error)  # raised again where it is read
        finally:
            await close(source)

    task = asyncio.create_task(pump())
    try:
        while (entry := await queue.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]
    finally:
        task.cancel()
        await asyncio.wait({task})  # not `await task`: where the reader is cancelled just now, that must not be lost


async def close(source: AsyncIterator[object]) -> None:
    """Closes an async generator; other iterators have nothing to close."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()


async def once(text: str) -> AsyncGenerator[str, None]:
    """The text as the only delta."""
    yield text


async def clauses(
    deltas: AsyncIterator[str], *, first_min: int = 8, least: int = 24, most: int = 160
) -> AsyncGenerator[str, None]:
    """Deltas to clauses, whose concatenation is exactly that of the deltas.

    A clause ends with a sentence, or at a pause once it has `least` characters (the first one: `first_min`, since the
    caller is waiting for it), or at a space when `most` characters have no punctuation.
    """
    buffer = ""
    least_now = first_min
    try:
        async for delta in deltas:
            buffer += delta
            while (cut := _cut(buffer, least_now, most)) is not None:
                yield buffer[:cut]
                buffer = buffer[cut:]
                least_now = least
    finally:
        await close(deltas)
    if buffer:
        yield buffer


def _cut(buffer: str, least: int, most: int) -> int | None:
    """Where the first clause of the buffer ends, None while that is not known."""
    ends = [m.end() for m in _SENTENCE_END.finditer(buffer) if len(buffer[: m.end()].strip()) >= min(least, 8)]
    pauses = [m.end() for m in _PAUSE.finditer(buffer) if m.end() >= least]
    if found := ends[:1] + pauses[:1]:
        return min(found)
    if len(buffer) > most:
        space = buffer.rfind(" ", 0, most)
        return space + 1 if space > 0 else most
    return None


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of the reply, ready for the caller."""

    pcm: Pcm16
    """PCM16 at REALTIME_RATE."""
    text: str
    """The words that begin in this piece; concatenated pieces are the reply."""
    marks: tuple[tuple[int, float], ...]
    """(character of `text`, ms of `pcm`): by then the text before the character has been spoken."""

    @property
    def seconds(self) -> float:
        """Duration."""
        return seconds_of(self.pcm, REALTIME_RATE)


async def paced(pieces: AsyncIterator[Speech], ahead_seconds: float) -> AsyncGenerator[Speech, None]:
    """The same pieces, none given out more than `ahead_seconds` before the caller can hear it.

    A barge-in then throws away seconds of speech, not minutes, and no caller's outbox holds a whole story.
    """
    started: float | None = None
    given_seconds = 0.0
    try:
        async for piece in pieces:
            now = asyncio.get_running_loop().time()
            started = now if started is None else started
            early = given_seconds - (now - started) - ahead_seconds
            if early > 0:
                await asyncio.sleep(early)
            yield piece
            given_seconds += piece.seconds
    finally:
        await close(pieces)


async def speak(
    clauses: AsyncIterator[str], synthesizer: Synthesizer, *, voice: str = "", speed: float = 1.0, model: str = ""
) -> AsyncGenerator[Speech, None]:
    """Clauses to speech, each clause synthesised while the next is written."""
    async with contextlib.aclosing(ahead(clauses, CLAUSES_AHEAD)) as written:
        async for clause in written:
            async with contextlib.aclosing(_speak_clause(clause, synthesizer, voice, speed, model)) as pieces:
                async for piece in pieces:
                    yield piece


async def _speak_clause(
    clause: str, synthesizer: Synthesizer, voice: str, speed: float, model: str
) -> AsyncGenerator[Speech, None]:
    shown = 0  # characters of the clause that earlier pieces carried
    resampler: Resampler | None = None
    chunks = synthesizer.speak(clause, voice=voice, speed=speed, model=model)
    try:
        async for chunk in chunks:
            if resampler is None:
                resampler = Resampler(chunk.sample_rate, REALTIME_RATE)
            end = max(shown, chunk.text_span[1])
            marks = tuple(
                (max(0, min(character, end) - shown), sample * 1000 / chunk.sample_rate)
                for character, sample in chunk.marks
            )
            yield Speech(resampler.feed(chunk.pcm), clause[shown:end], marks)
            shown = end
    finally:
        await close(chunks)
    rest = resampler.feed(b"", last=True) if resampler is not None else b""
    if rest or shown < len(clause):
        yield Speech(rest, clause[shown:], ((len(clause) - shown, seconds_of(rest, REALTIME_RATE) * 1000),))
