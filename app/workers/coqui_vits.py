"""VITS and MMS voices of Coqui TTS: the clauses of many callers share one network, in batches. Knows no transport."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

from app import metrics
from app.audio import Waveform
from app.errors import PackError, WorkerError
from app.workers.base import Health, SpeechChunk
from app.workers.coqui_vits_network import Line, VitsNetwork
from app.workers.proportional import pieces
from app.workers.speech_request import checked

BATCH = 16  # of the usual clauses; what more gives on a GPU has not been measured
WINDOW_SECONDS = 0.004  # a clause waits this long for company; nobody notices it

Job: TypeAlias = tuple[Line, "Future[Waveform]"]


class CoquiVits:
    """The synthesizer of a folder with a VITS or MMS model; satisfies `Synthesizer`. `close` ends its thread."""

    def __init__(
        self,
        path: Path,
        *,
        names: Sequence[str] = (),
        model: str = "",
        language: str = "",
        device: str = "auto",
        threads: int = 1,
        max_replies: int = 64,
        max_batch: int = 0,
    ) -> None:
        """Loads the folder. Raises PackError. Of `names` the first is the default voice.

        A network with several speakers has voices of their names; `names` then chooses and orders among them.
        `max_batch` 0 is BATCH on a GPU, and 1 on a CPU: a batch costs there more than its clauses one by one, and
        each would wait for the last.
        """
        logging.getLogger("TTS").setLevel(logging.ERROR)  # it logs every text that has an unknown character
        self._network = VitsNetwork(path, device=device, threads=threads, language=language)
        known = self._network.speakers
        if known and (strangers := [name for name in names if name not in known]):
            raise PackError(f"{path} has no speaker {strangers[0]!r}; there are: {', '.join(known)}")
        self._names = tuple(names) or tuple(self._network.speakers) or (path.name,)
        self._model = model or path.name
        self._max_replies = max_replies
        usual = BATCH if self._network.device.startswith("cuda") else 1
        self._max_batch = (max_batch or usual) if self._network.batches else 1
        self._replies = 0
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="coqui-text")  # phonemizers are processes
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="coqui-vits", daemon=True)
        self._thread.start()

    @property
    def sample_rate(self) -> int:
        """Hertz of every chunk."""
        return self._network.sample_rate

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """See `Synthesizer`. Raises UnknownModel, BadRequest for the speed, WorkerBusy, WorkerError."""
        name = checked(voice, self._names, speed, replies=self._replies, max_replies=self._max_replies)
        if not any(character.isalnum() for character in text):
            return
        self._replies += 1
        try:
            loop = asyncio.get_running_loop()
            tokens = await loop.run_in_executor(self._readers, self._network.tokens, text)
            if not tokens:
                return
            result: Future[Waveform] = Future()
            metrics.QUEUE_DEPTH.labels("synthesizer").observe(self._jobs.qsize())
            self._jobs.put((Line(tokens, self._network.speakers.get(name, 0), speed), result))
            # Cancelling this wait takes a clause whose batch has not begun out of the queue.
            for chunk in pieces(text, await asyncio.wrap_future(result), self.sample_rate):
                yield chunk
        finally:
            self._replies -= 1

    async def health(self) -> Health:
        """The voices, the rate, the device and how many replies are being spoken."""
        detail: dict[str, Any] = {
            "voices": list(self._names),
            "sample_rate": self.sample_rate,
            "replies": self._replies,
            "max_replies": self._max_replies,
            "max_batch": self._max_batch,
            "device": self._network.device,
        }
        return Health(stage="synthesizer", engine="coqui-vits", model=self._model, detail=detail)

    def close(self) -> None:
        """Ends the thread after what is queued."""
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown()

    def _work(self) -> None:
        """The network's thread."""
        while batch := self._collect():
            lines, results = [line for line, _ in batch], [result for _, result in batch]
            metrics.BATCH_SIZE.labels("synthesizer").observe(len(batch))
            try:
                for result, waveform in zip(results, self._network.speak(lines), strict=True):
                    result.set_result(waveform)
            except Exception as error:  # torch raises RuntimeError and worse; the thread serves everyone and lives on
                for result in results:
                    if not result.done():
                        result.set_exception(WorkerError(f"the voice's network failed: {error}"))

    def _collect(self) -> list[Job]:
        """The next batch: what comes within the window, without what was cancelled; empty at the end."""
        batch: list[Job] = []
        deadline = 0.0
        while len(batch) < self._max_batch:
            try:
                job = self._jobs.get(timeout=max(0.0, deadline - time.monotonic()) if batch else None)
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # for the next call
                break
            deadline = deadline or time.monotonic() + WINDOW_SECONDS
            if job[1].set_running_or_notify_cancel():
                batch.append(job)
        return batch
