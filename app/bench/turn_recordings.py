"""Recordings of one caller with exactly known timing, composed of clips: turns with pauses, and in a row. No decisions.

The voices are real, the pauses are not: a clip is parted where it is quietest, so that what comes before a pause was
spoken without hesitation. People who think draw out their last word, which makes them easier to tell.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.audio import HEARING_RATE, Waveform
from app.media import decode_to

LEAD_SECONDS = 0.4
PAUSES = (0.3, 1.2)  # seconds, as in the recordings imitated: 0.3, 0.7 and 1.2
GAPS = (0.9, 3.0)  # between two turns of one caller
AFTER_SECONDS = 3.5  # heard after the last word: longer than any wait
QUIET = 0.02  # of the clip's loudest sample: what is quieter at its ends is no speech
NOISE = 0.0005  # of full scale: rooms are never digitally silent


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance of one person."""

    waveform: Waveform
    """float32 [samples] at HEARING_RATE, from the first sound to the last."""
    text: str
    language: str
    speaker: str
    part_at: int | None = None
    """Sample at which it is parted by a pause; None: where it is quietest."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What one caller says, and the truth about it, in seconds."""

    kind: str
    """whole, pause or gap."""
    waveform: Waveform
    turns: tuple[tuple[float, float, float], ...]
    """Of each turn: its start, its end, and when the next one starts."""
    speaker: str
    language: str


def clips(data: Path, split: Callable[[dict[str, Any]], bool]) -> list[Clip]:
    """The clips of DATA/voices and DATA/speech whose line of the manifest is wanted, in the manifests' order."""
    found = []
    for manifest in (data / "voices" / "manifest.jsonl", data / "speech" / "manifest.jsonl"):
        for line in manifest.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if split(row):
                waveform = spoken_part(decode_to((manifest.parent / row["audio"]).read_bytes(), HEARING_RATE))
                found.append(Clip(waveform, row["text"], row["language"], row["speaker"]))
    return found


def spoken_part(waveform: Waveform) -> Waveform:
    """From the first sound to the last."""
    loud = np.flatnonzero(np.abs(waveform) > QUIET * np.abs(waveform).max(initial=0.0))
    return waveform[loud[0] : loud[-1] + 1] if len(loud) else waveform


def quietest(waveform: Waveform) -> int:
    """The sample in the middle half around which 60 ms are the quietest: mostly between two words."""
    size = 6 * HEARING_RATE // 100
    power = np.convolve(waveform.astype(np.float64) ** 2, np.ones(size), mode="same")
    first = len(power) // 4
    return first + int(power[first : len(power) * 3 // 4].argmin())


def compose(spoken: Sequence[Clip], seed: int = 0) -> Iterator[Recording]:
    """One recording a clip, of each kind in turn; the same seed gives the same ones."""
    chance = random.Random(seed)
    for number, clip in enumerate(spoken):
        kind = ("pause", "whole", "gap")[number % 3]
        if kind == "pause":
            yield _with_pause(clip, chance.uniform(*PAUSES), number)
        elif kind == "gap":
            yield _in_a_row([clip, spoken[(number + 1) % len(spoken)]], chance.uniform(*GAPS), number)
        else:
            yield _in_a_row([clip], 0.0, number)


def _with_pause(clip: Clip, seconds: float, seed: int) -> Recording:
    part_at = quietest(clip.waveform) if clip.part_at is None else clip.part_at
    waveform, places = _joined([clip.waveform[:part_at], clip.waveform[part_at:]], seconds, seed)
    (start, _), (_, end) = places
    return Recording("pause", waveform, ((start, end, end + AFTER_SECONDS),), clip.speaker, clip.language)


def _in_a_row(spoken: Sequence[Clip], seconds: float, seed: int) -> Recording:
    waveform, places = _joined([clip.waveform for clip in spoken], seconds, seed)
    following = [start for start, _ in places[1:]] + [places[-1][1] + AFTER_SECONDS]
    turns = tuple((start, end, then) for (start, end), then in zip(places, following, strict=True))
    kind = "gap" if len(spoken) > 1 else "whole"
    return Recording(kind, waveform, turns, spoken[0].speaker, spoken[0].language)


def _joined(pieces: Sequence[Waveform], seconds: float, seed: int) -> tuple[Waveform, list[tuple[float, float]]]:
    """The pieces with silence before, between and after, and where each begins and ends."""
    parts = [_silence(LEAD_SECONDS)]
    places = []
    for number, piece in enumerate(pieces):
        if number:
            parts.append(_silence(seconds))
        start = sum(map(len, parts))
        parts.append(piece)
        places.append((start / HEARING_RATE, (start + len(piece)) / HEARING_RATE))
    waveform = np.concatenate([*parts, _silence(AFTER_SECONDS)])
    noise = np.random.default_rng(seed).standard_normal(len(waveform)) * NOISE
    return (waveform + noise).astype(np.float32), places


def _silence(seconds: float) -> Waveform:
    return np.zeros(round(seconds * HEARING_RATE), np.float32)
