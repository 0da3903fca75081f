"""The PocketSphinx recognizer: an English model trained on human speech, in a few processes. Knows no transport.

It hears people where a small Whisper trained on synthetic voices does not, and hardly hears synthetic voices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, Pcm16, seconds_of
from app.errors import BadRequest, WorkerBusy, WorkerError
from app.workers.base import Health, Transcript
from app.workers.sphinx_process import SphinxProcess

LANGUAGE = "en"
INTERIM_BYTES = int(0.4 * HEARING_RATE) * BYTES_PER_SAMPLE  # of new audio before the next interim text


class SphinxRecognizer:
    """Speech to text by PocketSphinx. About 94 MB and, at 0.15 to 0.3 of real time, a third of a core a process."""

    def __init__(self, *, processes: int = 2, words: str = "", name: str = "en-us") -> None:
        """`processes` is how many utterances can be open at once; they start now and load in the background.

        `words`: file of an n-gram model of what callers say; empty: PocketSphinx's own of general English.
        """
        if processes < 1:
            raise ValueError(f"got {processes} processes, expected at least 1")
        self._idle = [SphinxProcess(words) for _ in range(processes)]
        self._slots = processes
        self._closed = False
        self._name = name

    async def start(
        self,
        *,
        language: str = "",
        prompt: str = "",
        hot_words: str = "",
        word_times: bool = False,
        model: str = "",
    ) -> SphinxRecognition:
        """Opens an utterance; only `language` and `word_times` are used.

        Raises WorkerBusy, BadRequest for a language but English.
        """
        if language and language.lower().replace("_", "-").split("-")[0] != LANGUAGE:
            raise BadRequest(f"PocketSphinx hears English here, got language {language!r}", param="language")
        if not self._idle:
            raise WorkerBusy(f"{self._slots} utterances are open, the limit is {self._slots}")
        return SphinxRecognition(self, self._idle.pop(0), word_times=word_times)

    async def health(self) -> Health:
        """Slots."""
        detail = {"slots": self._slots, "open": self._slots - len(self._idle)}
        return Health("recognizer", "pocketsphinx", self._name, detail)

    def close(self) -> None:
        """Ends the processes; one that has an utterance ends after it."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @property
    def idle_pids(self) -> list[int | None]:
        """Of the processes that have no utterance."""
        return [process.pid for process in self._idle]

    def release(self, process: SphinxProcess) -> None:
        """Takes a process back for the next utterance."""
        if self._closed:
            process.close()
        else:
            self._idle.append(process)


class SphinxRecognition:
    """One utterance, on one process that is its own until the end."""

    def __init__(self, recognizer: SphinxRecognizer, process: SphinxProcess, *, word_times: bool = False) -> None:
        self._recognizer = recognizer
        self._word_times = word_times
        self._process: SphinxProcess | None = process
        self._seconds = 0.0
        self._unread = 0
        self._changed = asyncio.Event()
        process.begin()

    @property
    def pid(self) -> int | None:
        """Of the process that decodes this utterance."""
        return self._process.pid if self._process else None

    def feed(self, frame: Pcm16) -> None:
        """Passes the audio on; decoding follows in the process."""
        if self._process is not None:
            self._process.feed(frame)
            self._seconds += seconds_of(frame, HEARING_RATE)
            self._unread += len(frame)
            self._changed.set()

    async def hypotheses(self) -> AsyncIterator[str]:
        """The text so far, each time that it has changed. Ends with the utterance. Raises WorkerError."""
        shown = ""
        while self._process is not None:
            if self._unread < INTERIM_BYTES:
                self._changed.clear()
                await self._changed.wait()
                continue
            self._unread = 0
            answer = await asyncio.wrap_future(self._process.ask("interim"))
            if answer.text != shown and self._process is not None:
                shown = answer.text
                yield shown

    async def finish(self) -> Transcript:
        """The transcript of everything fed. Raises WorkerError."""
        if self._process is None:
            raise WorkerError("the utterance has ended already")
        process, self._process = self._process, None
        self._changed.set()
        try:
            answer = await asyncio.wrap_future(process.ask("finish"))
        finally:
            self._recognizer.release(process)
        return Transcript(
            text=answer.text,
            seconds=self._seconds,
            confidence=answer.confidence,
            no_speech_probability=0.0 if answer.text else 1.0,
            engine="pocketsphinx",
            language=LANGUAGE,
            words=answer.words if self._word_times else (),
        )

    async def abort(self) -> None:
        """Forgets the utterance; its process is free for the next one."""
        if self._process is not None:
            process, self._process = self._process, None
            self._changed.set()
            self._recognizer.release(process)
