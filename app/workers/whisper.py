"""The Whisper recognizer: many callers' utterances over one model on a thread of its own. Knows no transport.

Final decodes go before interim ones, and each utterance has at most one decode under way, so interim texts come as
often as the load allows and never hold up an end of turn.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import queue
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path

from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, Pcm16, seconds_of, to_waveform
from app.errors import WorkerBusy, WorkerError
from app.workers.base import Health, Transcript
from app.workers.whisper_decoder import Heard, WhisperDecoder, quiet_cut

FINAL, INTERIM = 0, 1
INTERIM_SECONDS = 0.2  # of new audio before the next interim decode; a word takes about 0.3 s
INTERIM_BYTES = int(INTERIM_SECONDS * HEARING_RATE) * BYTES_PER_SAMPLE


class WhisperRecognizer:
    """Speech to text by any CTranslate2 Whisper."""

    def __init__(
        self,
        path: str,
        *,
        device: str = "auto",
        compute_type: str = "default",
        threads: int = 1,
        trained_short: bool = False,
        margin_seconds: float = 0.4,
        beam_size: int = 1,
        no_speech_threshold: float = 0.6,
        min_confidence: float = 0.0,
        language: str = "",
        max_utterances: int = 64,
        name: str = "",
    ) -> None:
        """Loads the model; `name` is what `health` calls it. Raises PackError.

        `trained_short`: the encoder runs only as long as the utterance and `margin_seconds`, else 30 s. Text is empty
        where the no-speech probability is above its threshold or the confidence below its own. `language`, BCP 47, is
        for utterances that name none; where it is empty too, a multilingual model detects it.
        """
        self._decoder = WhisperDecoder(
            path,
            device=device,
            compute_type=compute_type,
            threads=threads,
            trained_short=trained_short,
            margin_seconds=margin_seconds,
            beam_size=beam_size,
            no_speech_threshold=no_speech_threshold,
            min_confidence=min_confidence,
        )
        self._language = language
        self._slots = max_utterances
        self._open: set[WhisperRecognition] = set()
        self._name = name or Path(path).name
        self._jobs: queue.PriorityQueue[tuple[int, int, Future[Transcript], Callable[[], Transcript]]]
        self._jobs = queue.PriorityQueue()
        self._order = itertools.count()
        threading.Thread(target=self._work, name="whisper", daemon=True).start()

    async def start(
        self,
        *,
        language: str = "",
        prompt: str = "",
        hot_words: str = "",
        word_times: bool = False,
        model: str = "",
    ) -> WhisperRecognition:
        """Opens an utterance. Raises WorkerBusy, and BadRequest for a language that the model does not know."""
        if len(self._open) >= self._slots:
            raise WorkerBusy(f"{len(self._open)} utterances are open, the limit is {self._slots}")
        self._decoder.check_language(language)
        recognition = WhisperRecognition(self, self._decoder, language or self._language, prompt)
        self._open.add(recognition)
        return recognition

    async def health(self) -> Health:
        """Slots and device."""
        detail = {
            "slots": self._slots,
            "open": len(self._open),
            "device": self._decoder.device,
            "multilingual": self._decoder.multilingual,
        }
        return Health("recognizer", "whisper", self._name, detail)

    def decode(self, priority: int, work: Callable[[], Transcript]) -> asyncio.Future[Transcript]:
        """Queues `work` for the engine's thread; cancelling the result before its turn takes it out again."""
        result: Future[Transcript] = Future()
        self._jobs.put((priority, next(self._order), result, work))
        return asyncio.wrap_future(result)

    def release(self, recognition: WhisperRecognition) -> None:
        """Frees the slot of an utterance that has ended."""
        self._open.discard(recognition)

    def _work(self) -> None:
        """The engine's thread."""
        while True:
            _, _, result, work = self._jobs.get()
            if not result.set_running_or_notify_cancel():
                continue
            try:
                result.set_result(work())
            except BaseException as error:  # the thread serves everyone: it must outlive any one utterance
                result.set_exception(error)


class WhisperRecognition:
    """One utterance."""

    def __init__(self, recognizer: WhisperRecognizer, decoder: WhisperDecoder, language: str, prompt: str) -> None:
        self._recognizer = recognizer
        self._decoder = decoder
        self._language = language
        self._prompt = prompt
        self._audio = bytearray()
        self._changed = asyncio.Event()
        self._ended = False
        self._interim: asyncio.Future[Transcript] | None = None
        self._settled: list[Heard] = []  # windows that later audio cannot change; touched by the engine's thread alone
        self._settled_samples = 0

    def feed(self, frame: Pcm16) -> None:
        """Keeps the audio."""
        self._audio += frame
        self._changed.set()

    async def hypotheses(self) -> AsyncIterator[str]:
        """The text so far, each time that it has changed. Ends with the utterance. Raises WorkerError."""
        decoded, shown = 0, ""
        while not self._ended:
            if len(self._audio) - decoded < INTERIM_BYTES:
                self._changed.clear()
                await self._changed.wait()
                continue
            decoded = len(self._audio)
            self._interim = self._submit(INTERIM)
            try:
                transcript = await self._interim
            except asyncio.CancelledError:
                if self._ended:  # by `finish` or `abort`, not by whoever reads this
                    return
                raise
            if transcript.text != shown and not self._ended:
                shown = transcript.text
                yield shown

    async def finish(self) -> Transcript:
        """The transcript of everything fed. Raises WorkerError."""
        if self._ended:
            raise WorkerError("the utterance has ended already")
        self._end()
        try:
            return await self._submit(FINAL)
        finally:
            self._recognizer.release(self)

    async def abort(self) -> None:
        """Forgets the utterance."""
        self._end()
        self._recognizer.release(self)

    def _end(self) -> None:
        self._ended = True
        self._changed.set()
        if self._interim is not None:
            self._interim.cancel()

    def _submit(self, priority: int) -> asyncio.Future[Transcript]:
        audio = bytes(self._audio)
        return self._recognizer.decode(priority, lambda: self._hear(audio))

    def _hear(self, audio: Pcm16) -> Transcript:
        """Runs on the engine's thread. Longer audio is cut into windows; whole ones are decoded once."""
        waveform = to_waveform(audio[: len(audio) - len(audio) % BYTES_PER_SAMPLE])
        while len(waveform) - self._settled_samples > self._decoder.window_samples:
            cut = quiet_cut(waveform[self._settled_samples :], self._decoder.window_samples)
            window = waveform[self._settled_samples : self._settled_samples + cut]
            self._settled.append(self._decoder.hear(window, self._language, self._prompt))
            self._settled_samples += cut
        last = self._decoder.hear(waveform[self._settled_samples :], self._language, self._prompt)
        return _transcript([*self._settled, last], seconds_of(audio, HEARING_RATE), self._language)


def _transcript(windows: list[Heard], seconds: float, language: str) -> Transcript:
    """The windows' words as one text, with the confidence of all their tokens."""
    tokens = sum(window.tokens for window in windows)
    return Transcript(
        text=" ".join(window.text for window in windows if window.text),
        seconds=seconds,
        confidence=math.exp(sum(window.log_probability for window in windows) / tokens) if tokens else 1.0,
        no_speech_probability=min(window.no_speech_probability for window in windows),
        engine="whisper",
        language=language or next((window.language for window in windows if window.language), ""),
    )
