"""What can be measured of a recording without knowing what is said: rate, level, clipping, a hash of its samples.

Measurements are kept in `.measured.jsonl` beside the manifest, by the hash of the file, so that a check that was
interrupted, or is done again, reads each file but decodes only what is new.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from app.audio import Waveform
from app.errors import BadAudio
from finetune.data import recording
from finetune.data.kept import Kept
from finetune.data.rows import Utterance

CACHE = ".measured.jsonl"
FULL_SCALE = 0.999
"""|sample| from which a sample is taken for clipped."""
FLAT_SAMPLES = 3
"""As many in a row: one full-scale sample is only loud."""
SPEECH_DB = 35.0
"""A 20 ms frame counts as sound within as many dB of the loudest."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Of one utterance."""

    sound: str = ""
    """SHA-256 of its samples at 16 bits: the same recording in another file has the same one. Empty: unreadable."""
    seconds: float = 0.0
    rate: int = 0
    """Hertz, as stored."""
    channels: int = 0
    peak: float = 0.0
    """Largest |sample|, 1 is full scale."""
    level_db: float = -120.0
    """RMS of the frames with sound, dB of full scale."""
    clipped: float = 0.0
    """Share of the samples that are in flat tops."""
    sounding_s: float = 0.0
    """Seconds of frames with sound."""
    fault: str = ""
    """Why it could not be read."""


def measured(paths: Sequence[Path], rows: Sequence[Utterance], folder: Path) -> Iterator[Measurement]:
    """One measurement a row, in order, with a progress bar; what is measured is kept in `folder`."""
    with Kept(folder / CACHE) as kept:
        for path, row in zip(tqdm(paths, desc="measure", unit=" clips", disable=None), rows, strict=True):
            try:
                data = path.read_bytes()
            except OSError as error:
                yield Measurement(fault=f"cannot be read: {error.strerror}")
                continue
            key = f"{hashlib.sha256(data).hexdigest()}:{row.start_s:g}:{'' if row.end_s is None else f'{row.end_s:g}'}"
            known = kept.get(key)
            if known is None:
                known = dataclasses.asdict(measure(data, row.start_s, row.end_s))
                kept.put(key, known)
            yield Measurement(**known)


def measure(data: bytes, start_s: float = 0.0, end_s: float | None = None) -> Measurement:
    """Measures a file's bytes, or a part of them; one that cannot be decoded has only a `fault`."""
    try:
        heard = recording.decode(data, start_s, end_s)
    except BadAudio as error:
        return Measurement(fault=error.message)
    waveform = heard.waveform
    samples = np.clip(np.round(waveform * 32768), -32768, 32767).astype("<i2").tobytes()
    level, sounding = _level(waveform, heard.rate)
    return Measurement(
        sound=hashlib.sha256(f"{heard.rate}:".encode() + samples).hexdigest(),
        seconds=round(heard.seconds, 4),
        rate=heard.rate,
        channels=heard.channels,
        peak=round(float(np.abs(waveform).max()), 4),
        level_db=round(level, 2),
        clipped=round(_clipped(waveform), 6),
        sounding_s=round(sounding, 3),
    )


def _level(waveform: Waveform, rate: int) -> tuple[float, float]:
    """dB of full scale over the frames with sound, and how many seconds those are."""
    size = max(1, rate // 50)  # 20 ms
    frames = waveform[: max(len(waveform) // size, 1) * size].reshape(-1, min(size, len(waveform)))
    power = np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12
    sounding = power >= power.max() * 10 ** (-SPEECH_DB / 10)
    return float(10 * np.log10(power[sounding].mean())), float(sounding.sum() * size / rate)


def _clipped(waveform: Waveform) -> float:
    """Share of samples in runs of at least FLAT_SAMPLES at full scale."""
    full = np.abs(waveform) >= FULL_SCALE
    edges = np.flatnonzero(np.diff(np.concatenate([[0], full.astype(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= FLAT_SAMPLES].sum() / len(waveform))
