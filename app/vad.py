"""Speech probability of one frame: Silero VAD, one state per caller. Knows nothing of turns.

The ONNX file is faster-whisper's. Its first axis is time and it cannot batch callers; one call costs about 0.05 ms
on one core, so every caller has its own state and all share the session object (thread safe in onnxruntime).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from app.audio import FRAME_SAMPLES, Pcm16

CONTEXT_SAMPLES = 64  # of the previous frame, which Silero v5 and later put before each window at 16 kHz
FULL_SCALE = np.float32(1 / 32768)


@functools.cache
def load() -> Any:
    """The shared onnxruntime session, once a process. It takes a tenth of a second: not for an event loop."""
    import importlib.util
    import os

    import onnxruntime

    # Only the file is wanted: importing the package takes two seconds and brings an engine into the gateway.
    package = importlib.util.find_spec("faster_whisper")
    assert package is not None
    assert package.origin is not None
    assets = os.path.join(os.path.dirname(package.origin), "assets")
    (name,) = [n for n in os.listdir(assets) if n.startswith("silero_vad") and n.endswith(".onnx")]
    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = 1  # a pool would cost more than the 0.05 ms of the call
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(os.path.join(assets, name), options, providers=["CPUExecutionProvider"])


class SpeechProbability:
    """Silero's recurrent state for one caller."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets what was heard: the next frame starts a new stream."""
        self._h = np.zeros((1, 1, 128), dtype=np.float32)
        self._c = np.zeros((1, 1, 128), dtype=np.float32)
        self._window = np.zeros((1, CONTEXT_SAMPLES + FRAME_SAMPLES), dtype=np.float32)

    def __call__(self, frame: Pcm16) -> float:
        """Probability 0..1 that the frame, FRAME_SAMPLES at HEARING_RATE, holds speech."""
        samples = np.frombuffer(frame, dtype="<i2")
        if samples.shape != (FRAME_SAMPLES,):
            raise ValueError(f"got a frame of {len(samples)} samples, expected {FRAME_SAMPLES}")
        window = self._window  # one buffer for all frames: several allocations a frame would cost as much as the rest
        window[0, :CONTEXT_SAMPLES] = window[0, -CONTEXT_SAMPLES:]
        np.multiply(samples, FULL_SCALE, out=window[0, CONTEXT_SAMPLES:])
        probability, self._h, self._c = load().run(None, {"input": window, "h": self._h, "c": self._c})
        return float(probability.item())
