"""Deterministic workers for tests, load tests and demonstrations: real classes, loud when misused. Know no model.

A call that the script does not foresee raises `UnscriptedCall`, so that a test cannot pass on silence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

import numpy as np

from app.audio import HEARING_RATE, REALTIME_RATE, Pcm16, seconds_of
from app.errors import UnknownModel, WorkerBusy, WorkerError
from app.workers.base import (
    Asked,
    ChatRequest,
    Health,
    ReplyPart,
    SpeechChunk,
    TextDelta,
    ToolCall,
    Transcript,
    Usage,
    Word,
)

SECONDS_PER_WORD = 0.25  # of heard audio, before the next word of the script shows up as a hypothesis


class UnscriptedCall(AssertionError):
    """The script has no line for this call."""


class Hold:
    """A part of a scripted reply: the model thinks until it is cancelled."""


HOLD: Final = Hold()


class ScriptedRecognizer:
    """Hears the scripted texts, one an utterance, whatever is fed; an Exception in the script is raised by finish."""

    def __init__(
        self,
        script: Iterable[str | Exception],
        *,
        repeat: bool = False,
        slots: int = 1_000_000,
        language: str = "",
    ) -> None:
        """`language` is what every transcript says that it is in."""
        self.language = language
        self._script = list(script)
        self._repeat = repeat
        self._slots = slots
        self.open = 0
        """Utterances that have begun and not ended."""
        self.heard: list[Pcm16] = []
        """All audio of each finished utterance."""
        self.asked: list[Asked] = []
        """What each utterance was opened with."""

    async def start(
        self,
        *,
        language: str = "",
        prompt: str = "",
        hot_words: str = "",
        word_times: bool = False,
        model: str = "",
    ) -> ScriptedRecognition:
        """The next line of the script. Raises WorkerBusy beyond `slots`, UnscriptedCall when none is left."""
        if self.open >= self._slots:
            raise WorkerBusy(f"{self.open} utterances are open, the limit is {self._slots}")
        if not self._script:
            raise UnscriptedCall("an utterance began, but no transcript is left in the script")
        line = self._script[0] if self._repeat else self._script.pop(0)
        self.open += 1
        self.asked.append(
            Asked(language=language, prompt=prompt, hot_words=hot_words, word_times=word_times, model=model)
        )
        return ScriptedRecognition(self, line, word_times=word_times)

    async def health(self) -> Health:
        """Always well."""
        return Health("recognizer", "scripted", "scripted", {"open": self.open})


class ScriptedRecognition:
    """One scripted utterance: a word more of the text for every SECONDS_PER_WORD heard."""

    def __init__(self, recognizer: ScriptedRecognizer, line: str | Exception, *, word_times: bool) -> None:
        self._recognizer = recognizer
        self._line = line
        self._word_times = word_times
        self._audio = bytearray()
        self._changed = asyncio.Event()
        self._ended = False

    def feed(self, frame: Pcm16) -> None:
        """Keeps the audio."""
        if self._ended:
            raise UnscriptedCall("audio was fed after the utterance ended")
        self._audio += frame
        self._changed.set()

    async def hypotheses(self) -> AsyncIterator[str]:
        """Prefixes of the scripted text, in step with the audio."""
        words = self._line.split() if isinstance(self._line, str) else []
        shown = 0
        while not self._ended:
            due = min(len(words), int(seconds_of(bytes(self._audio), HEARING_RATE) / SECONDS_PER_WORD))
            if due > shown:
                shown = due
                yield " ".join(words[:shown])
            self._changed.clear()
            await self._changed.wait()

    async def finish(self) -> Transcript:
        """The scripted text, or the scripted failure."""
        self._recognizer.heard.append(bytes(self._audio))
        seconds = seconds_of(bytes(self._audio), HEARING_RATE)
        self._end()
        if isinstance(self._line, Exception):
            raise self._line
        words = _words(self._line) if self._word_times else ()
        return Transcript(self._line, seconds, engine="scripted", language=self._recognizer.language, words=words)

    async def abort(self) -> None:
        """Forgets the utterance."""
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._recognizer.open -= 1
            self._changed.set()


def _words(line: str) -> tuple[Word, ...]:
    starts = ((index * SECONDS_PER_WORD, text) for index, text in enumerate(line.split()))
    return tuple(Word(text, start, start + SECONDS_PER_WORD, 1.0) for start, text in starts)


class ScriptedLanguage:
    """Writes the scripted replies, one a request: text is streamed word by word."""

    def __init__(
        self,
        script: Iterable[str | Exception | Sequence[str | ToolCall | Hold | Exception]],
        *,
        repeat: bool = False,
    ) -> None:
        self._script = list(script)
        self._repeat = repeat
        self.requests: list[ChatRequest] = []
        self.cancelled = 0
        """Replies closed before their end."""

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """The next reply of the script. Raises UnscriptedCall when none is left."""
        if not self._script:
            raise UnscriptedCall(f"a reply was asked for, but none is left in the script: {request.messages!r}")
        self.requests.append(request)
        line = self._script[0] if self._repeat else self._script.pop(0)
        words = 0
        calls = 0
        done = False
        try:
            for part in [line] if isinstance(line, str | Exception) else line:
                if isinstance(part, Exception):
                    raise part
                if isinstance(part, Hold):
                    await asyncio.Event().wait()
                elif isinstance(part, ToolCall):
                    calls += 1
                    yield part
                else:
                    for word in re.findall(r"\s*\S+\s*$|\s*\S+", part):
                        await asyncio.sleep(0)
                        words += 1
                        yield TextDelta(word)
            done = True
            yield Usage(len(request.messages), words, "tool_calls" if calls else "stop")
        finally:
            self.cancelled += not done

    async def health(self) -> Health:
        """Always well."""
        return Health("language", "scripted", "scripted")


class ScriptedSynthesizer:
    """Speaks a constant level for each text, so that audio of one caller is told from another's."""

    def __init__(
        self,
        *,
        sample_rate: int = REALTIME_RATE,
        samples_per_character: int = 1200,
        voices: Sequence[str] = ("scripted",),
        fails_on: str = "",
    ) -> None:
        self.sample_rate = sample_rate
        self.samples_per_character = samples_per_character
        self.voices = tuple(voices)
        self.spoken: list[str] = []
        """Texts asked for, in order."""
        self.models: list[str] = []
        """The models asked for, one a text."""
        self.cancelled = 0
        self._fails_on = fails_on

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """A chunk a word. Raises UnknownModel for a voice that is not in `voices`."""
        if voice and voice not in self.voices:
            raise UnknownModel(f"no voice {voice!r}; there are: {', '.join(self.voices)}")
        if self._fails_on and self._fails_on in text:
            raise WorkerError(f"scripted failure on {self._fails_on!r}")
        self.spoken.append(text)
        self.models.append(model)
        done = False
        try:
            for word in re.finditer(r"\s*\S+\s*$|\s*\S+", text):
                await asyncio.sleep(0)
                samples = int(len(word.group()) * self.samples_per_character / speed)
                pcm = np.full(samples, level_of(text), dtype="<i2").tobytes()
                yield SpeechChunk(pcm, self.sample_rate, word.span(), ((word.end(), samples),))
            done = True
        finally:
            self.cancelled += not done

    async def health(self) -> Health:
        """Always well."""
        detail = {"voices": list(self.voices), "sample_rate": self.sample_rate}
        return Health("synthesizer", "scripted", "scripted", detail)


def level_of(text: str) -> int:
    """The sample value with which ScriptedSynthesizer speaks a text: 1000 to 8999, the same in every process."""
    return 1000 + sum(map(ord, text)) * 31 % 8000
