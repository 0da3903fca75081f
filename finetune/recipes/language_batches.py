"""Which rows the language recipe learns from in which batch, with the noise of their user turns. Knows no model."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from finetune.data.errors import DataError
from finetune.data.rows import Dialogue
from finetune.recipes.language_config import Config
from finetune.recipes.language_noise import Confusions, disturbed, read_confusions
from finetune.recipes.language_rows import Encoder, Row, cut, tensors
from finetune.sampling import Epochs, bucketed, mixed, packed


class Batches:
    """Batches by number: a permutation of each epoch, the noise of each turn, all from (seed, epoch, dialogue)."""

    def __init__(self, config: Config, encoder: Encoder, new: Sequence[Dialogue], old: Sequence[Dialogue]) -> None:
        self._config = config
        self._encoder = encoder
        self._rows: list[tuple[Dialogue, int, Row]] = []  # dialogue, which of its rows, as it is without noise
        counts: list[int] = []
        for dialogues in (new, old):
            for dialogue in dialogues:
                cuts = (cut(row, config.row_tokens) for row in encoder.rows(dialogue))
                self._rows += [(dialogue, i, row) for i, row in enumerate(cuts) if any(row.written)]
            counts.append(len(self._rows) - sum(counts))
        self._new, self._old = counts
        if not self._new:
            raise DataError(f"{', '.join(config.data)}: got no row with a reply within {config.row_tokens} tokens")
        self._confusions: Confusions = {}
        if config.noise.confusions:
            self._confusions = read_confusions(Path(config.noise.confusions))
        self._epochs = Epochs(self._plan)

    def summary(self) -> str:
        """What there is to learn from, in a line."""
        written = sum(sum(row.written) for _, _, row in self._rows)
        return f"{self._new} rows, {self._old} to rehearse; {written:,} tokens are the assistant's"

    def batch(self, number: int) -> dict[str, Tensor]:
        """input_ids, position_ids, labels [B, T]."""
        epoch, rows = self._epochs.find(number)
        return tensors([self._heard(row, epoch) for row in rows])

    def _plan(self, epoch: int) -> list[list[list[int]]]:
        config = self._config
        rng = random.Random(f"{config.training.seed} {epoch}")
        items = mixed(self._new, self._old, config.rehearsal.share, rng)
        lengths = [len(self._rows[item][2].ids) for item in items]
        if config.batching == "bucketed":
            return [[[items[i]] for i in batch] for batch in bucketed(lengths, config.rows, rng)]
        rows = [[items[i] for i in row] for row in packed(lengths, config.row_tokens, rng)]
        return [rows[i : i + config.rows] for i in range(0, len(rows), config.rows)]

    def _heard(self, items: Sequence[int], epoch: int) -> list[Row]:
        """Dialogues of a row with noise; without it where that has made the row too long."""
        noisy = [self._disturbed(item, epoch) for item in items]
        fits = sum(len(row.ids) for row in noisy) <= self._config.row_tokens
        return noisy if fits else [self._rows[item][2] for item in items]

    def _disturbed(self, item: int, epoch: int) -> Row:
        dialogue, which, clean = self._rows[item]
        if not self._confusions:
            return clean
        noise, rng = self._config.noise, random.Random(f"{self._config.training.seed} {epoch} {item}")
        turns = tuple(
            dataclasses.replace(turn, text=disturbed(turn.text, self._confusions, noise.word_rate, rng))
            if turn.role == "user" and rng.random() < noise.share
            else turn
            for turn in dialogue.turns
        )
        if turns == dialogue.turns:
            return clean
        noisy = self._encoder.rows(dataclasses.replace(dialogue, turns=turns))
        return noisy[which] if which < len(noisy) else clean
