"""Audio for tests: real speech from Debian's synthesizers, and silence. Skips a test whose program is missing."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from app.audio import REALTIME_RATE, Pcm16, Waveform, resample, to_pcm16
from app.media import decode_to


@functools.cache
def flite(text: str, voice: str = "slt", rate: int = REALTIME_RATE) -> Pcm16:
    """The text in a flite voice, PCM16 at `rate`."""
    if shutil.which("flite") is None:
        pytest.skip("the program flite is not installed (Debian package flite)")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        return to_pcm16(decode_to(path.read_bytes(), rate))


def silence(seconds: float, rate: int = REALTIME_RATE) -> Pcm16:
    """Digital silence, PCM16."""
    return bytes(2 * round(seconds * rate))


def noise(seconds: float, level: float, rate: int = REALTIME_RATE, seed: int = 0) -> Waveform:
    """White noise of a given standard deviation."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * rate)) * level
    return resample(samples.astype(np.float32), rate, rate)
