"""Recordings and rows for the tests of data: tones that differ by id, and corpora in their real forms."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import soundfile

from app.audio import Waveform
from finetune.data.manifest import write_manifest
from finetune.data.rows import Utterance

RATE = 16_000


def tone(name: str, seconds: float = 1.0, rate: int = RATE, level: float = 0.3) -> Waveform:
    """A chord that no other name has."""
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    times = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * pitch * times) for pitch in draw.uniform(150, 900, 3)) / 3
    return np.asarray(level * sound, dtype=np.float32)


def write_tone(path: Path, name: str = "", **options: float) -> Path:
    """A file of `tone`, in the format that its suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = int(options.get("rate", RATE))
    soundfile.write(path, tone(name or path.stem, **options), rate)  # type: ignore[arg-type]
    return path


def utterance(id: str = "a", **fields: object) -> Utterance:
    """A row without fault."""
    row = Utterance(
        id=id, audio=f"audio/{id}.wav", text=f"the words of {id}", language="en", speaker="one", duration_s=1.0,
        source="made for a test", licence="CC0-1.0", consent="training",
    )  # fmt: skip
    return dataclasses.replace(row, **fields)  # type: ignore[arg-type]


def dataset(folder: Path, rows: list[Utterance]) -> Path:
    """A manifest with a tone for each row; returns its path."""
    for row in rows:
        write_tone(folder / row.audio, row.id, seconds=row.duration_s)
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"
