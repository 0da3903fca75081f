"""Which clips the recognizer recipe learns from in which batch, and how hard they are made. Knows no model.

Shapes: B clips, M mel bands, T frames, L tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from finetune.data.rows import Utterance
from finetune.recipes.recognizer_clips import Features, Mel, padded_frames
from finetune.recipes.recognizer_config import Config
from finetune.recipes.recognizer_rows import IGNORED, Encoder, Target
from finetune.sampling import Epochs, bucketed, mixed

SILENCE = -1
"""Item without a clip."""
Batch = tuple[list[tuple[int, float]], bool]
"""Items with their seconds, and whether they are padded to 30 s."""


class Batches:
    """Batches by number: a permutation of each epoch, masks and effects, all from (seed, epoch, clip)."""

    def __init__(
        self, config: Config, encoder: Encoder, features: Features, new: Sequence[Utterance], old: Sequence[Utterance]
    ) -> None:
        self._config, self._encoder, self._features = config, encoder, features
        self._clips = [*new, *old]
        self._new, self._old = len(new), len(old)
        self._quiet = encoder.target(_nobody(new[0]))
        self._epochs: Epochs[Batch] = Epochs(self._plan)

    def summary(self) -> str:
        """What there is to learn from, in a line."""
        hours = [sum(clip.duration_s for clip in clips) / 3600 for clips in self._parts()]
        return f"{self._new} clips of {hours[0]:.2f} h, {self._old} of {hours[1]:.2f} h to rehearse"

    def batch(self, number: int) -> dict[str, Tensor]:
        """mels [B, M, T], given and expected [B, L]."""
        epoch, (items, whole) = self._epochs.find(number)
        mels, targets = [], []
        for place, (item, seconds) in enumerate(items):
            if item == SILENCE:
                mels.append(self._features.silence(seconds, f"{number}/{place}"))
                targets.append(self._quiet)
            else:
                mels.append(self._features.of(self._clips[item], epoch))
                targets.append(self._target(item, epoch))
        frames = padded_frames(max(mel.shape[1] for mel in mels), self._config, whole)
        return {"mels": stacked(mels, frames), **labelled(targets, self._encoder.end)}

    def _target(self, item: int, epoch: int) -> Target:
        row = self._clips[item]
        chance = random.Random(f"translate/{self._config.training.seed}/{row.id}/{epoch}")
        if row.translation and chance.random() < self._config.translation_share:
            return self._encoder.target(row, "translate")
        return self._encoder.target(row)

    def _plan(self, epoch: int) -> list[Batch]:
        config = self._config
        rng = random.Random(f"{config.training.seed} {epoch}")
        drawn = mixed(self._new, self._old, config.rehearsal.share, rng)
        items = [(item, self._clips[item].duration_s) for item in drawn]
        silent = round(len(items) * config.silence_share / (1 - config.silence_share))
        items += [(SILENCE, rng.choice(items)[1]) for _ in range(silent)]
        batches = bucketed([round(100 * seconds) for _, seconds in items], config.rows, rng)
        return [([items[i] for i in batch], rng.random() < config.padded_share) for batch in batches]

    def _parts(self) -> tuple[list[Utterance], list[Utterance]]:
        return self._clips[: self._new], self._clips[self._new :]


def stacked(mels: Sequence[Mel], frames: int) -> Tensor:
    """[B, M, frames], zeros behind each clip, as the service pads them; what is longer loses its end."""
    padded = np.zeros((len(mels), mels[0].shape[0], frames), np.float32)
    for row, mel in enumerate(mels):
        kept = mel[:, :frames]
        padded[row, :, : kept.shape[1]] = kept
    return torch.from_numpy(padded)


def labelled(targets: Sequence[Target], end: int) -> dict[str, Tensor]:
    """given and expected [B, L]; behind a text's end nothing is learnt."""
    length = max(len(target.given) for target in targets)
    given, expected = torch.full((len(targets), length), end), torch.full((len(targets), length), IGNORED)
    for row, target in enumerate(targets):
        given[row, : len(target.given)] = torch.tensor(target.given)
        expected[row, : len(target.expected)] = torch.tensor(target.expected)
    return {"given": given, "expected": expected}


def _nobody(row: Utterance) -> Utterance:
    """A row in the same language in which nobody speaks."""
    return Utterance("silence", "", "", row.language, "", 0.0, "made up", "", "")
