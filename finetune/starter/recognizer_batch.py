"""Batches of the starter's recognizer: which clips, how they are varied, and what the losses are computed against.

Knows no network and no schedule. Shapes: B batch, T mel frames, S encoder states (T / 2), L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from finetune.starter.recognizer_data import MEL_RATE, NO_PHONE, Clip, read_shard
from finetune.starter.recognizer_model import CHARACTERS, MELS, SpecialTokens

Mel: TypeAlias = NDArray[np.float32]
"""Log-mel [T, 80]."""

FRAMES_PER_BATCH = 4500
LARGEST_BATCH = 32
HUMAN_SHARE = 0.05
SILENT_SHARE = 0.045
TIMESTAMP_SHARE = 0.1
"""Share of targets with start and end times, so that decoders which ask for times get them."""
MOMENTS_PER_SECOND = 50
IGNORED = -100
"""Label that cross entropy skips."""
LOG_MEL_RANGE = 2.0
"""Whisper clips its log-mel at this far below the window's maximum (8 decades in steps of 4)."""


@dataclass(frozen=True, slots=True)
class Variation:
    """How hard a batch is made; 0 leaves the clips alone, 1 is the most."""

    warp: float = 0.0
    """Tempo and vocal tract length."""
    noise: float = 0.0
    """Stationary noise and microphone tone."""
    masks: float = 0.0
    """SpecAugment (arXiv:1904.08779)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step needs."""

    mels: Tensor
    """[B, T, 80], T even, zeros behind each clip: what faster-whisper pads with."""
    inputs: Tensor
    """Decoder input ids [B, L]."""
    labels: Tensor
    """Next ids [B, L], IGNORED behind the end."""
    characters: Tensor
    """CTC targets, all clips one after the other."""
    character_counts: Tensor
    """[B]"""
    states: Tensor
    """Encoder states that hold the clip [B]; the rest is padding."""
    phones: Tensor
    """[B, S], IGNORED where unknown."""


class Clips:
    """The training clips on disk; shards that appear later are picked up by `rescan`."""

    def __init__(self, folder: Path, core_words: frozenset[str] = frozenset()) -> None:
        """`core_words`: a synthetic clip of these words alone counts as one of the domain."""
        self._folder = folder
        self._core_words = core_words
        self._seen: set[Path] = set()
        self._kinds: dict[str, list[Clip]] = {"synthetic": [], "human": [], "silence": [], "aligned": [], "core": []}

    def rescan(self) -> int:
        """Reads new shards; how many clips there are now."""
        for pattern in ("synthetic-*.safetensors", "human-*.safetensors"):
            for path in sorted(self._folder.glob(pattern)):
                if path not in self._seen:
                    self._seen.add(path)
                    self.add(read_shard(path))
        return sum(len(self._kinds[kind]) for kind in ("synthetic", "human", "silence"))

    def add(self, clips: list[Clip]) -> None:
        """Takes clips into the mixture."""
        for clip in clips:
            self._kinds[clip.kind].append(clip)
            if clip.kind == "synthetic" and clip.phones[0] != NO_PHONE:
                self._kinds["aligned"].append(clip)
            if clip.kind == "synthetic" and self._core_words.issuperset(clip.text.split()):
                self._kinds["core"].append(clip)

    def draw(
        self, rng: np.random.Generator, synthetic: str = "synthetic", frames: int = FRAMES_PER_BATCH
    ) -> list[Clip]:
        """Clips of about one length, about `frames` together.

        `synthetic`: "synthetic" for all, "core" for the domain's words; "aligned" for those with phone times and
        nothing else beside them.
        """
        wanted = {synthetic: 1 - HUMAN_SHARE - SILENT_SHARE, "human": HUMAN_SHARE, "silence": SILENT_SHARE}
        kinds = [kind for kind in wanted if self._kinds[kind]] if synthetic != "aligned" else ["aligned"]
        shares = [wanted[kind] for kind in kinds]
        chosen = rng.choice(len(kinds), size=16 * LARGEST_BATCH, p=np.array(shares) / sum(shares))
        pool = [self._kinds[kinds[k]][rng.integers(len(self._kinds[kinds[k]]))] for k in chosen]
        pool.sort(key=lambda clip: len(clip.mel))
        first = int(rng.integers(len(pool)))
        batch: list[Clip] = []
        for clip in pool[first:] + pool[:first][::-1]:
            if batch and (len(batch) == LARGEST_BATCH or (len(batch) + 1) * max(len(clip.mel), 100) > frames):
                break
            batch.append(clip)
        return batch


def collate(
    clips: list[Clip],
    tokenizer: Tokenizer,
    special: SpecialTokens,
    rng: np.random.Generator,
    variation: Variation,
    pad_to: int = 0,
) -> Batch:
    """The clips, varied at random, as tensors; `pad_to` frames at least."""
    clips = [_crop(clip, rng) for clip in clips]
    tempo = 1 + variation.warp * rng.uniform(-0.12, 0.12, len(clips)) * (rng.random(len(clips)) < 0.6)
    frames = [max(2, round(len(clip.mel) / factor)) for clip, factor in zip(clips, tempo, strict=True)]
    longest = max(max(frames) + int(rng.choice([0, 0, 20, 40, 60])), pad_to)
    longest += longest % 2
    mels = torch.zeros(len(clips), longest, MELS)
    phones = torch.full((len(clips), longest // 2), IGNORED)
    for row, (clip, factor) in enumerate(zip(clips, tempo, strict=True)):
        varied = _vary(clip.mel.astype(np.float32), frames[row], factor, rng, variation)
        mels[row, : frames[row]] = torch.from_numpy(varied)
        if clip.phones[0] != NO_PHONE:
            known = (frames[row] + 1) // 2
            places = np.minimum(((np.arange(known) + 0.5) * factor).astype(int), len(clip.phones) - 1)
            phones[row, : min(known, longest // 2)] = torch.from_numpy(clip.phones[places].astype(np.int64))[
                : longest // 2
            ]
            phones[row, known:] = 0  # padding is silence
    targets = [_target(clip, factor, tokenizer, special, rng) for clip, factor in zip(clips, tempo, strict=True)]
    length = max(len(target[0]) for target in targets)
    inputs = torch.full((len(clips), length), special.end)
    labels = torch.full((len(clips), length), IGNORED)
    for row, (given, expected) in enumerate(targets):
        inputs[row, : len(given)] = torch.tensor(given)
        labels[row, : len(expected)] = torch.tensor(expected)
    spelled = [[CHARACTERS.index(character) + 1 for character in clip.text] for clip in clips]
    return Batch(
        mels=mels,
        inputs=inputs,
        labels=labels,
        characters=torch.tensor([label for labels_ in spelled for label in labels_], dtype=torch.long),
        character_counts=torch.tensor([len(labels_) for labels_ in spelled]),
        states=torch.tensor([min(longest // 2, (count + 1) // 2 + 10) for count in frames]),
        phones=phones,
    )


def _crop(clip: Clip, rng: np.random.Generator) -> Clip:
    """Without a random part of the silence around the speech: other timing, and less of it to compute."""
    if not clip.text:
        return clip
    before = 2 * int(rng.uniform(0, clip.span[0]) * MEL_RATE / 2)
    behind = int(rng.uniform(0, max(0.0, len(clip.mel) / MEL_RATE - clip.span[1])) * MEL_RATE)
    seconds = before / MEL_RATE
    mel = clip.mel[before : len(clip.mel) - behind]
    phones = clip.phones[before // 2 :][: (len(mel) + 1) // 2]
    return replace(clip, mel=mel, phones=phones, span=(clip.span[0] - seconds, clip.span[1] - seconds))


def _target(
    clip: Clip, tempo: float, tokenizer: Tokenizer, special: SpecialTokens, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Decoder input and next ids of one clip.

    After <|startoftranscript|> stands <|nospeech|> where nobody speaks, as in Whisper's own training: decoders read its
    probability there. Forced on by <|notimestamps|> all the same, the model must say nothing.
    """
    if not clip.text:
        return [special.start, special.no_timestamps], [special.no_speech, special.end]
    said: list[int] = tokenizer.encode(" " + clip.text).ids
    if rng.random() < TIMESTAMP_SHARE:
        last = len(clip.mel) / MEL_RATE
        start, end = (
            special.first_moment + round(min(seconds, last) / tempo * MOMENTS_PER_SECOND) for seconds in clip.span
        )
        whole = [special.start, start, *said, end, special.end]
    else:
        whole = [special.start, special.no_timestamps, *said, special.end]
    return whole[:-1], whole[1:]


def _vary(
    mel: Mel,
    frames: int,
    tempo: float,
    rng: np.random.Generator,
    variation: Variation,
) -> Mel:
    """A log-mel [T, 80] as another tempo, vocal tract, room and microphone would have given it: [frames, 80]."""
    tract = 1 + variation.warp * rng.uniform(-0.09, 0.09) if rng.random() < 0.6 else 1.0
    if tempo != 1.0:
        mel = _stretch(mel, np.minimum(np.arange(frames) * tempo, len(mel) - 1))
    if tract != 1.0:
        mel = _stretch(mel.T, np.minimum(np.arange(MELS) * tract, MELS - 1)).T
    if rng.random() < 0.5 * variation.noise:
        mel = mel + np.linspace(-1, 1, MELS, dtype=np.float32) * np.float32(rng.uniform(-0.12, 0.12))
    if rng.random() < 0.6 * variation.noise:
        mel = _add_noise(mel, rng)
    if variation.masks:
        mel, blank = mel.copy(), mel.mean()
        for _ in range(2):
            width = int(rng.integers(0, 1 + round(12 * variation.masks)))
            first = int(rng.integers(0, MELS - width))
            mel[:, first : first + width] = blank
            width = int(rng.integers(0, 1 + round(18 * variation.masks)))
            first = int(rng.integers(0, max(1, len(mel) - width)))
            mel[first : first + width] = blank
    return mel


def _stretch(rows: Mel, places: NDArray[np.float64]) -> Mel:
    """Rows at fractional `places`, between neighbours by straight lines."""
    below = places.astype(int)
    above = np.minimum(below + 1, len(rows) - 1)
    share = (places - below).astype(np.float32)[:, None]
    between: Mel = rows[below] * (1 - share) + rows[above] * share
    return between


def _add_noise(mel: Mel, rng: np.random.Generator) -> Mel:
    """Adds the power of a random stationary noise: sums of powers, since noise and speech are independent."""
    loud = float(np.quantile(mel, 0.97))
    level = loud - rng.uniform(5, 40) / 40  # 40 dB are one unit of Whisper's log-mel
    tone = np.interp(np.arange(MELS), [0, 20, 40, 60, 79], rng.uniform(-0.45, 0.0, 5))
    swell = rng.uniform(0, 0.1) * np.sin(np.arange(len(mel)) * rng.uniform(0.01, 0.3))[:, None]
    noise = level + tone + swell + rng.normal(0, 0.05, mel.shape)
    total = np.log10(10 ** (4 * mel) + 10 ** (4 * noise)) / 4
    floored: Mel = np.maximum(total, total.max() - LOG_MEL_RANGE).astype(np.float32)
    return floored
