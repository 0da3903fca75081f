"""The Whisper recognizer: many callers' utterances over one model. Knows no transport.

Features are made on a few threads beside the event loop, and the windows of all callers share batches on the engine's
own thread (`whisper_batch.py`). Finals go before interims, and each utterance has at most one decode under way, so that
interim texts come as often as the load allows; one that the utterance's end overtakes is dropped.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, Pcm16, seconds_of
from app.errors import WorkerBusy, WorkerError
from app.workers.base import Health, Transcript, Word
from app.workers.whisper_batch import CPU, CUDA, FINAL, INTERIM, Batches
from app.workers.whisper_decoder import SILENCE, Heard, WhisperDecoder, whisper_code
from app.workers.whisper_windows import Asked, Window

INTERIM_SECONDS = 0.2  # of new audio before the next interim decode; a word takes about 0.3 s
INTERIM_BYTES = int(INTERIM_SECONDS * HEARING_RATE) * BYTES_PER_SAMPLE
FEATURE_THREADS = min(
    4, os.cpu_count() or 1
)  # log-mel is mostly numpy, which lets go of the GIL; the model needs the rest


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
        hallucinations: Collection[str] = (),
        hallucination_confidence: float = 0.8,
        max_compression: float = 2.4,
        language: str = "",
        language_token: str = "",
        max_utterances: int = 64,
        name: str = "",
    ) -> None:
        """Loads the model; `name` is what `health` calls it. Raises PackError.

        `trained_short`: the encoder runs only as long as the utterance and `margin_seconds`, else 30 s. Text is empty
        where the no-speech probability is above its threshold, the confidence below its own, or the text one that
        nobody said (`whisper_filter.py`). `language`, BCP 47, is for utterances that name none; where it is empty too,
        a multilingual model detects it. `language_token` is Whisper's code whose token the model was trained to read
        for `language`; empty: its own. `compute_type` is CTranslate2's: int8, float16, float32 and others.
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
            hallucinations=hallucinations,
            hallucination_confidence=hallucination_confidence,
            max_compression=max_compression,
            stand_ins={language: language_token} if language_token else {},
        )
        self._language = language
        self._slots = max_utterances
        self._open: set[WhisperRecognition] = set()
        self._name = name or Path(path).name
        limits = CUDA if self._decoder.device == "cuda" else CPU
        self._interims = limits.interims
        self._batches: Batches[Window, Heard] = Batches(self._decoder.hear, limits, lambda: len(self._open))
        # An end of turn does not queue behind the interim texts of all others.
        self._features = {
            priority: ThreadPoolExecutor(FEATURE_THREADS, thread_name_prefix=f"whisper-{name}-features")
            for priority, name in ((FINAL, "final"), (INTERIM, "interim"))
        }

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
        language = language or self._language
        asked = self._decoder.asked(language, prompt, hot_words, word_times)
        recognition = WhisperRecognition(self, asked, whisper_code(language))
        self._open.add(recognition)
        return recognition

    async def health(self) -> Health:
        """Slots, device, and how well callers share batches."""
        batches = self._batches
        detail = {
            "slots": self._slots,
            "open": len(self._open),
            "device": self._decoder.device,
            "compute_type": self._decoder.compute_type,
            "multilingual": self._decoder.multilingual,
            "waiting": batches.waiting,
            "batches": batches.batches,
            "batch_size_mean": round(batches.windows / max(1, batches.batches), 2),
            "batch_size_largest": batches.largest,
            "dropped": batches.dropped,
        }
        return Health("recognizer", "whisper", self._name, detail)

    async def windows(self, audio: Pcm16, asked: Asked, priority: int) -> list[Window]:
        """The audio made ready, off the event loop. Raises WorkerError."""
        self._batches.check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._features[priority], self._decoder.windows.of, audio, asked)

    @property
    def interim_bytes(self) -> int:
        """New audio before an utterance's next interim decode.

        Where more speak than share a batch of interim texts, these are not made more often in all: an end of turn
        waits for the batch under way, and the other stages for the processor.
        """
        return INTERIM_BYTES * max(1, -(-len(self._open) // self._interims))

    async def hear(self, window: Window, priority: int) -> Heard:
        """The window's words, when its turn has come; cancelling this before then takes it out of the queue."""
        return await self._batches.submit(window, priority) if window.frames else SILENCE

    def release(self, recognition: WhisperRecognition) -> None:
        """Frees the slot of an utterance that has ended."""
        self._open.discard(recognition)

    def close(self) -> None:
        """Ends the threads, so that the model can be freed; utterances that wait fail with WorkerError."""
        self._batches.close()
        for pool in self._features.values():
            pool.shutdown(wait=False)


class WhisperRecognition:
    """One utterance."""

    def __init__(self, recognizer: WhisperRecognizer, asked: Asked, language: str) -> None:
        self._recognizer = recognizer
        self._asked = asked
        self._language = language
        self._audio = bytearray()
        self._changed = asyncio.Event()
        self._ended = False
        self._interim: asyncio.Task[Transcript] | None = None
        self._settled: list[Heard] = []  # windows that later audio cannot change, their words timed from its start
        self._settled_samples = 0

    def feed(self, frame: Pcm16) -> None:
        """Keeps the audio."""
        self._audio += frame
        self._changed.set()

    async def hypotheses(self) -> AsyncIterator[str]:
        """The text so far, each time that it has changed. Ends with the utterance. Raises WorkerError."""
        decoded, shown = 0, ""
        while not self._ended:
            if len(self._audio) - decoded < self._recognizer.interim_bytes:
                self._changed.clear()
                await self._changed.wait()
                continue
            decoded = len(self._audio)
            self._interim = asyncio.create_task(self._hear(INTERIM))
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
            return await self._hear(FINAL)
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

    async def _hear(self, priority: int) -> Transcript:
        """Longer audio is cut into windows; whole ones are decoded once."""
        audio = bytes(self._audio)
        settled, samples = list(self._settled), self._settled_samples
        windows = await self._recognizer.windows(audio[samples * BYTES_PER_SAMPLE :], self._asked, priority)
        if priority == INTERIM:
            windows[-1] = replace(windows[-1], asked=replace(self._asked, word_times=False))
        heard = await asyncio.gather(*[self._recognizer.hear(window, priority) for window in windows])
        for window, one in zip(windows, heard, strict=True):
            settled.append(replace(one, words=_later(one.words, samples / HEARING_RATE)))
            samples += len(window.waveform)
        self._settled, self._settled_samples = settled[:-1], samples - len(windows[-1].waveform)
        return _transcript(settled, seconds_of(audio, HEARING_RATE), self._language)


def _later(words: tuple[Word, ...], seconds: float) -> tuple[Word, ...]:
    return tuple(replace(word, start_s=word.start_s + seconds, end_s=word.end_s + seconds) for word in words)


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
        words=tuple(word for window in windows for word in window.words),
    )
