"""Speech probability of one frame: Silero VAD, one state per caller. Knows nothing of turns.

The ONNX file is faster-whisper's. Its first axis is time and it cannot batch callers; one call costs about 0.05 ms
on one core, so every caller has its own state and all share the session object (thread safe in onnxruntime).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from app.audio import FRAME_SAMPLES, Waveform

CONTEXT_SAMPLES = 64  # of the previous frame, which Silero v5 and later put before each window at 16 kHz


@functools.cache
def _model() -> Any:
    """The shared onnxruntime session; loaded once a process, since loading takes 30 ms."""
    import os

    import faster_whisper
    import onnxruntime

    assets = os.path.join(os.path.dirname(faster_whisper.__file__), "assets")
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
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)

    def __call__(self, frame: Waveform) -> float:
        """Probability 0..1 that the frame, float32 [FRAME_SAMPLES] at 16 kHz, holds speech."""
        if frame.shape != (FRAME_SAMPLES,):
            raise ValueError(f"got a frame of shape {frame.shape}, expected ({FRAME_SAMPLES},)")
        window = np.concatenate([self._context, frame])[np.newaxis]
        probability, self._h, self._c = _model().run(None, {"input": window, "h": self._h, "c": self._c})
        self._context = frame[-CONTEXT_SAMPLES:]
        return float(probability.reshape(-1)[0])
