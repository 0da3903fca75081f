"""Which clips the judge recipe learns from in which batch, as features and letters. Knows no model.

Shapes: B clips, M mel bands, T frames, N letters of all clips of a batch.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune.data.rows import Utterance
from finetune.data.spec_augment import spec_augment
from finetune.evaluate.normal import normal
from finetune.judge_network import features, states, targets
from finetune.recipes.judge_config import Config
from finetune.recipes.recognizer_clips import pcm_of
from finetune.sampling import Epochs, bucketed

LONGEST_SECONDS = 20.0
"""Longer clips take memory and teach little that shorter ones do not."""
STRETCH = 0.15
"""By how much the mel bands are stretched at most: between a man's throat and a child's (vocal tract length
perturbation: Jaitly and Hinton, ICML 2013 workshop on deep learning for audio)."""


class Batches:
    """Batches by number: short clips first, then a permutation of each epoch. All chance is of (seed, epoch, clip)."""

    def __init__(self, config: Config, letters: str, clips: Sequence[Utterance]) -> None:
        self._config, self._letters, self._clips = config, letters, clips
        self._kept: dict[str, NDArray[np.float16]] = {}
        self._epochs: Epochs[list[int]] = Epochs(self._plan)

    def batch(self, number: int) -> dict[str, Tensor]:
        """mels [B, M, T], steps [B] that each clip has of them, letters [N] of all, lengths [B] of each one's."""
        epoch, items = self._epochs.find(number)
        mels = [self._heard(self._clips[item], epoch) for item in items]
        longest = max(mel.shape[1] for mel in mels)
        # What is behind a clip is as quiet as its quietest place.
        padded = [np.pad(mel, ((0, 0), (0, longest - mel.shape[1])), constant_values=mel.min()) for mel in mels]
        letters, lengths = targets([label(self._clips[item]) for item in items], self._letters)
        steps = torch.tensor([states(mel.shape[1]) for mel in mels])
        return {"mels": torch.from_numpy(np.stack(padded)), "steps": steps, "letters": letters, "lengths": lengths}

    def _heard(self, row: Utterance, epoch: int) -> NDArray[np.float32]:
        chance = random.Random(f"judge/{self._config.training.seed}/{row.id}/{epoch}")
        if row.audio not in self._kept:
            self._kept[row.audio] = features(pcm_of(row)).astype(np.float16)
        mel = self._kept[row.audio].astype(np.float32)
        if chance.random() < self._config.warped:
            mel = stretched(mel, chance.uniform(1 - STRETCH, 1 + STRETCH))
        if chance.random() < self._config.spec_augment:
            mel = spec_augment(mel, seed=self._config.training.seed, id=row.id, epoch=epoch)
        return mel

    def _plan(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"{self._config.training.seed} {epoch}")
        lengths = [round(100 * clip.duration_s) for clip in self._clips]
        batches = bucketed(lengths, self._config.rows, rng)
        if (
            epoch == 0
        ):  # short clips first: CTC finds in them sooner which sound is which letter (SortaGrad, Amodei 2016)
            batches.sort(key=lambda batch: max(lengths[item] for item in batch))
        return batches


def label(row: Utterance) -> str:
    """What a clip's text is learnt and compared as."""
    return normal(row.text, row.language)


def stretched(mel: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """[M, T] with each band taken from `factor` times its place, between two bands where that is."""
    bands = len(mel)
    place = np.clip(np.arange(bands) * factor, 0, bands - 1)
    below = np.minimum(place.astype(int), bands - 2)
    share = (place - below)[:, None].astype(np.float32)
    return np.asarray(mel[below] * (1 - share) + mel[below + 1] * share)


def usable(rows: Sequence[Utterance], letters: str) -> list[Utterance]:
    """Clips that CTC can learn: not too long, and with a text that fits into their states; says how many are not."""
    fitting = [
        row
        for row in rows
        if row.duration_s <= LONGEST_SECONDS
        and (text := label(row))
        and set(text) <= set(letters)
        # Between two equal letters there has to be a blank.
        and len(text) + sum(a == b for a, b in itertools.pairwise(text)) <= states(int(100 * row.duration_s))
    ]
    if left_out := len(rows) - len(fitting):
        print(f"{left_out} of {len(rows)} clips left out: longer than {LONGEST_SECONDS:g} s, without text, or too fast")
    return fitting
