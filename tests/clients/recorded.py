"""What the clients say: a recording of a person, and which of its words must be heard. Needs ffmpeg alone."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CLIP = Path("speech/audio/sentences_en/kathleen-arctic_a0005.flac")  # CC0: "Will we ever forget it."
HEARD = {"we", "ever", "forget", "it"}
SUM = "what is twelve plus thirty"  # typed, where the answer is to be the right one
PATIENCE = 90.0  # seconds for one turn: the machine may be busy with other things


@functools.cache
def recording() -> Path:
    """The file. Skips where the shared recordings are not at hand."""
    path = Path(os.environ.get("PARLEY_DATA", REPOSITORY.parent / "shared" / "data")) / CLIP
    if not path.is_file():
        pytest.skip(f"there is no recording {path} (PARLEY_DATA)")
    return path


@functools.cache
def question(rate: int = 24_000, *, then_silence: float = 1.5) -> bytes:
    """The recording, PCM16 at `rate`, and silence that ends the turn."""
    command = ["ffmpeg", "-v", "error", "-i", str(recording()), "-f", "s16le", "-ar", str(rate), "-ac", "1", "-"]
    pcm = subprocess.run(command, check=True, capture_output=True).stdout
    return bytes(rate // 5 * 2) + pcm + bytes(2 * int(rate * then_silence))


def is_heard(text: str) -> bool:
    """Whether a transcript is that of the recording; one word of a stranger may be another."""
    return len(HEARD & set(re.findall(r"[a-z']+", text.lower()))) >= len(HEARD) - 1


def is_forty_two(text: str) -> bool:
    """Whether a reply says what SUM is."""
    return "42" in text or "forty two" in text.lower().replace("-", " ")
