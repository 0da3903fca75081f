"""A voice whose network speaks token by token: callers' streams take turns, a piece each. Knows no engine.

Such networks keep a running text's state to themselves and cannot batch streams, so that throughput does not grow with
the number of callers; what grows is the wait for a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from app.audio import Waveform
from app.errors import ParleyError, WorkerError
from app.workers.base import Health, SpeechChunk
from app.workers.proportional import Progress
from app.workers.speech_request import checked

HELD_SECONDS = 0.02  # of each piece wait for the next one, so that the last piece is known as such


class Stream(Protocol):
    """One text being spoken; stepped in any order with others, but never two at a time."""

    def next(self) -> Waveform | None:
        """The next piece, float32 [samples]; None at the end."""


class Network(Protocol):
    """What an engine brings."""

    sample_rate: int
    """Hertz."""
    device: str
    """cpu or cuda."""

    def stream(self, text: str, voice: str, speed: float) -> Stream:
        """Begins a text. Raises BadRequest for one that it cannot speak at once."""


class StreamedVoice:
    """Satisfies `Synthesizer`. `close` ends its thread."""

    def __init__(
        self, network: Network, *, engine: str, names: Sequence[str], model: str, max_replies: int = 16
    ) -> None:
        """Of `names` the first is the default voice."""
        self._network = network
        self._engine = engine
        self._names = tuple(names)
        self._model = model
        self._max_replies = max_replies
        self._replies = 0
        # One thread, whose queue is served in order: callers take turns piece by piece, and a stream that nobody reads
        # is not stepped.
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=engine)

    @property
    def sample_rate(self) -> int:
        """Hertz of every chunk."""
        return self._network.sample_rate

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """See `Synthesizer`. Raises UnknownModel, BadRequest for speed and length, WorkerBusy, WorkerError."""
        name = checked(voice, self._names, speed, replies=self._replies, max_replies=self._max_replies)
        if not any(character.isalnum() for character in text):
            return
        self._replies += 1
        try:
            loop = asyncio.get_running_loop()
            progress = Progress(text, self.sample_rate, speed=speed)
            stream = await loop.run_in_executor(self._pool, self._network.stream, text, name, speed)
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
        """The voices, the rate, the device and how many replies are being spoken."""
        detail: dict[str, Any] = {
            "voices": list(self._names),
            "sample_rate": self.sample_rate,
            "replies": self._replies,
            "max_replies": self._max_replies,
            "device": self._network.device,
        }
        return Health(stage="synthesizer", engine=self._engine, model=self._model, detail=detail)

    def close(self) -> None:
        """Ends the thread after what is queued."""
        self._pool.shutdown()


def _next(stream: Stream) -> Waveform | None:
    try:
        return stream.next()
    except ParleyError:
        raise
    except Exception as error:  # torch and transformers raise whatever fails first
        raise WorkerError(f"the voice's network failed: {error}") from error
