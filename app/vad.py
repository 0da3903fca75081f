"""Speech probability of one frame: Silero VAD, one state per caller, one call for the frames that come together.

Knows nothing of turns. A call reads all weights, for one frame or for eight, and that reading is most of what a frame
costs: whoever found company the last time waits two milliseconds for it, and a lone caller does not wait.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import numpy as np

from app.audio import FRAME_SAMPLES, Pcm16
from app.vad_network import UNITS, WINDOW, build

GATHER_SECONDS = 0.002  # 64 callers make four frames in it: a call of four costs each of them a third of a call of one
CONTEXT_SAMPLES = WINDOW - FRAME_SAMPLES  # of the previous frame, which Silero v5 and later put before each window
FULL_SCALE = np.float32(1 / 32768)


@functools.cache
def load() -> Any:
    """The shared onnxruntime session, once a process. It takes a tenth of a second: not for an event loop."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1  # a pool would cost more than the 0.1 ms of the call
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(build(silero()), options, providers=["CPUExecutionProvider"])


def silero() -> str:
    """Path of faster-whisper's file."""
    import importlib.util
    import os

    # Only the file is wanted: importing the package takes two seconds and brings an engine into the gateway.
    package = importlib.util.find_spec("faster_whisper")
    assert package is not None
    assert package.origin is not None
    assets = os.path.join(os.path.dirname(package.origin), "assets")
    (name,) = [n for n in os.listdir(assets) if n.startswith("silero_vad") and n.endswith(".onnx")]
    return os.path.join(assets, name)


class SpeechProbability:
    """Silero's recurrent state for one caller."""

    def __init__(self, shared: SharedVad) -> None:
        self._shared = shared
        self.h = np.zeros((1, 1, UNITS), dtype=np.float32)
        self.c = np.zeros((1, 1, UNITS), dtype=np.float32)
        self.window = np.zeros((1, WINDOW), dtype=np.float32)

    async def __call__(self, frame: Pcm16) -> float:
        """Probability 0..1 that the frame, FRAME_SAMPLES at HEARING_RATE, holds speech. One frame at a time."""
        samples = np.frombuffer(frame, dtype="<i2")
        if samples.shape != (FRAME_SAMPLES,):
            raise ValueError(f"got a frame of {len(samples)} samples, expected {FRAME_SAMPLES}")
        window = self.window  # one buffer for all frames: several allocations a frame would cost as much as the rest
        window[0, :CONTEXT_SAMPLES] = window[0, -CONTEXT_SAMPLES:]
        np.multiply(samples, FULL_SCALE, out=window[0, CONTEXT_SAMPLES:])
        return await self._shared.add(self)


class SharedVad:
    """The callers of one event loop, whose frames share calls."""

    def __init__(self) -> None:
        self._waiting: list[tuple[SpeechProbability, asyncio.Future[float]]] = []
        self._company = False  # the last call was for several

    def add(self, caller: SpeechProbability) -> asyncio.Future[float]:
        """The probability of the caller's window, once it has been computed."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            if self._company:
                loop.call_later(GATHER_SECONDS, self._compute)
            else:
                loop.call_soon(self._compute)
        future: asyncio.Future[float] = loop.create_future()
        self._waiting.append((caller, future))
        return future

    def _compute(self) -> None:
        waiting, self._waiting = self._waiting, []
        waiting = [(caller, future) for caller, future in waiting if not future.done()]  # some have hung up
        self._company = len(waiting) > 1
        if not waiting:
            return
        callers = [caller for caller, _ in waiting]
        try:
            probabilities, h, c = load().run(
                None,
                {
                    "input": np.concatenate([caller.window for caller in callers]),
                    "h": np.concatenate([caller.h for caller in callers], axis=1),
                    "c": np.concatenate([caller.c for caller in callers], axis=1),
                },
            )
        except Exception as error:  # onnxruntime's own classes; each caller's session ends with it, and nobody hangs
            for _, future in waiting:
                future.set_exception(error)
            return
        for number, (caller, future) in enumerate(waiting):
            caller.h, caller.c = h[:, number : number + 1], c[:, number : number + 1]
            future.set_result(float(probabilities[number]))
