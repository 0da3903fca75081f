"""Draws the names, cities, numbers and words of one split. Knows which are kept out of training, but no sentence."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from finetune.starter import words


@dataclass(frozen=True)
class Entities:
    """A source of argument values for the sentence templates."""

    rng: random.Random
    kept_out_share: float = 0.0
    """0 for training; for a test the share of draws from the values that training never sees."""
    lexicon: Sequence[str] = field(default=())
    """Further words for names, cities and echoes; training a text model needs thousands of them, so that it learns to
    copy instead of to remember."""
    lexicon_share: float = 0.0
    """Share of draws from `lexicon`."""

    def _draw(self, known: Sequence[str]) -> str:
        kept_out = self.kept_out_share > 0 and self.rng.random() < self.kept_out_share
        pool = self.lexicon if self.lexicon and self.rng.random() < self.lexicon_share else known
        while True:
            word = self.rng.choice(pool)
            if words.is_kept_out(word) == kept_out:
                return word

    def name(self) -> str:
        """A person's first name."""
        return self._draw(words.NAMES)

    def city(self) -> str:
        """A city, one to three words."""
        return self._draw(words.CITIES)

    def word(self) -> str:
        """A common noun."""
        return self._draw(words.COMMON)

    def number(self, low: int, high: int) -> int:
        """A whole number low..high; where the range has none that is kept out, any."""
        kept_out = self.kept_out_share > 0 and self.rng.random() < self.kept_out_share
        for _ in range(50):
            value = self.rng.randint(low, high)
            if words.is_kept_out(value) == kept_out:
                return value
        return value
