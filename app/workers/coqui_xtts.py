"""A cloned XTTS voice of Coqui TTS: callers' streams take turns, a piece each, on one network. Knows no transport.

XTTS samples token by token and cannot batch callers' streams, so that throughput does not grow with their number.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from app.audio import Waveform
from app.errors import BadRequest, PackError, ParleyError, WorkerBusy, WorkerError
from app.names import voice_of
from app.workers.base import Health, SpeechChunk
from app.workers.coqui_xtts_network import XttsNetwork, XttsStream
from app.workers.proportional import Progress

SLOWEST, FASTEST = 0.25, 4.0
HELD_SECONDS = 0.02  # of each piece wait for the next one, so that the last piece is known as such


class CoquiXtts:
    """The synthesizer of a folder with an XTTS model and a reference clip; satisfies `Synthesizer`."""

    def __init__(
        self,
        path: Path,
        *,
        reference: str,
        consent: str,
        language: str,
        names: Sequence[str] = (),
        model: str = "",
        device: str = "auto",
        threads: int = 1,
        max_replies: int = 16,
    ) -> None:
        """Loads the folder and clones the voice of its clip `reference`. Raises PackError.

        `consent` says who agreed to what: a voice is not cloned without it.
        """
        if not consent.strip():
            raise PackError(
                f"{path}: a voice is cloned only with its owner's consent; "
                f"the pack's [voice] consent must say who agreed to what, got nothing"
            )
        clip = path / reference
        if not reference or not clip.is_file() or not clip.resolve().is_relative_to(path.resolve()):
            raise PackError(f"{path}: [voice] reference names no clip of this folder, got {reference!r}")
        logging.getLogger("TTS").setLevel(logging.ERROR)  # it logs callers' texts
        self._network = XttsNetwork(path, clip, language=language, device=device, threads=threads)
        self._names = tuple(names) or (clip.stem,)
        self._model = model or path.name
        self._max_replies = max_replies
        self._replies = 0
        # One thread, whose queue is served in order: callers take turns piece by piece, and a stream that nobody reads
        # is not stepped.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="coqui-xtts")

    @property
    def sample_rate(self) -> int:
        """Hertz of every chunk."""
        return self._network.sample_rate

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """See `Synthesizer`. Raises UnknownModel, BadRequest for speed and length, WorkerBusy, WorkerError."""
        voice_of(voice, self._names)
        if not SLOWEST <= speed <= FASTEST:
            raise BadRequest(f"got speed {speed}, expected {SLOWEST} to {FASTEST}", param="speed")
        if self._replies >= self._max_replies:
            raise WorkerBusy(f"all {self._max_replies} replies of the voice are in use")
        if not any(character.isalnum() for character in text):
            return
        self._replies += 1
        try:
            loop = asyncio.get_running_loop()
            progress = Progress(text, self.sample_rate, speed=speed)
            stream = await loop.run_in_executor(self._pool, self._network.stream, text, speed)
            keep = round(HELD_SECONDS * self.sample_rate)
            held: Waveform = np.zeros(0, dtype=np.float32)
            while (piece := await loop.run_in_executor(self._pool, _next, stream)) is not None:
                samples = np.concatenate([held, piece])
                held = samples[-keep:]
                if len(samples) > keep:
                    yield progress.chunk(samples[:-keep], last=False)
            if len(held):
                yield progress.chunk(held, last=True)
        finally:
            self._replies -= 1

    async def health(self) -> Health:
        """The voice, the rate, the device and how many replies are being spoken."""
        detail: dict[str, Any] = {
            "voices": list(self._names),
            "sample_rate": self.sample_rate,
            "replies": self._replies,
            "max_replies": self._max_replies,
            "device": self._network.device,
        }
        return Health(stage="synthesizer", engine="coqui-xtts", model=self._model, detail=detail)

    def close(self) -> None:
        """Ends the thread after what is queued."""
        self._pool.shutdown()


def _next(stream: XttsStream) -> Waveform | None:
    try:
        return stream.next()
    except ParleyError:
        raise
    except Exception as error:  # torch and transformers raise whatever fails first
        raise WorkerError(f"the voice's network failed: {error}") from error
