"""What a pack is evaluated on: clips with their slices, and dialogues, of the test split alone. Knows no models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.audio import HEARING_RATE, Pcm16, Waveform, resample, to_pcm16
from finetune.data import recording
from finetune.data.errors import DataError
from finetune.data.manifest import audio_path, kind_of, read_dialogues, read_utterances
from finetune.data.rows import Dialogue, Utterance
from finetune.evaluate.normal import is_of

TEST = "test"
LENGTHS = ((2.0, "under 2 s"), (5.0, "2 to 5 s"), (10.0, "5 to 10 s"))
NOISE = ((10.0, "loud (under 10 dB)"), (25.0, "some (10 to 25 dB)"))
FRAME = HEARING_RATE // 50

R = TypeVar("R", Utterance, Dialogue)


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance of a manifest, heard at HEARING_RATE."""

    row: Utterance
    path: Path
    old: bool = False
    """Of data that must not be forgotten, whatever its language."""

    def is_own(self, language: str) -> bool:
        """Whether it is what a pack of the language is made for."""
        return not self.old and is_of(self.row.language, language)

    def read(self) -> tuple[Pcm16, str, dict[str, str]]:
        """Its audio, the hash of it, and its slices. Raises BadAudio."""
        found = recording.decode(self.path.read_bytes(), self.row.start_s, self.row.end_s)
        waveform = resample(found.waveform, found.rate, HEARING_RATE)
        pcm = to_pcm16(waveform)
        return pcm, hashlib.sha256(pcm).hexdigest(), slices(self.row, waveform)


def clips(manifests: Sequence[Path], *, old: bool = False) -> list[Clip]:
    """The test rows of each manifest; all rows of one that is not split. Raises DataError where there are none."""
    found = []
    for manifest in manifests:
        rows = _tested(read_utterances(manifest), manifest)
        found += [Clip(row, audio_path(manifest, row), old) for row in rows]
    return found


def by_kind(manifests: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Manifests of utterances, and of dialogues. Raises ManifestError."""
    kinds = {manifest: kind_of(manifest) for manifest in manifests}
    speech, texts = ([path for path in manifests if kinds[path] == kind] for kind in ("utterances", "dialogues"))
    return speech, texts


def dialogues(manifests: Sequence[Path]) -> list[Dialogue]:
    """The same of dialogues."""
    return [row for manifest in manifests for row in _tested(read_dialogues(manifest), manifest)]


def slices(row: Utterance, waveform: Waveform) -> dict[str, str]:
    """Dimension to value, empty where the manifest does not say."""
    length = next((name for limit, name in LENGTHS if len(waveform) < limit * HEARING_RATE), "over 10 s")
    noise = next((name for limit, name in NOISE if signal_to_noise_db(waveform) < limit), "little (over 25 dB)")
    return {"gender": row.gender, "accent": row.accent, "noise": noise, "length": length}


def signal_to_noise_db(waveform: Waveform) -> float:
    """An estimate: loud 20 ms frames (95th percentile) over quiet ones (10th), dB; 60 at most.

    A clip without a pause looks noisier than it is.
    """
    frames = waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
    if not len(frames):
        return 60.0
    levels = 10 * np.log10(np.square(frames, dtype=np.float64).mean(axis=1) + 1e-12)
    quiet, loud = np.percentile(levels, [10, 95])
    return float(min(60.0, loud - quiet))


def _tested(rows: Iterable[R], manifest: Path) -> list[R]:
    every = list(rows)
    test = [row for row in every if row.split == TEST] if any(row.split for row in every) else every
    if not test:
        raise DataError(f"{manifest}: got {len(every)} rows, none of them of split {TEST}; nothing else is evaluated")
    return test
