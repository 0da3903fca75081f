"""Word errors and how sure a figure is: WER, bootstrap and Wilson intervals. Knows no model, file or language pack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

CONFIDENCE = 0.95
DRAWN_AT_ONCE = 1_000_000  # items of all rounds together
Z = 1.959964  # quantile of the normal distribution for CONFIDENCE, two-sided


def word_errors(reference: str, hypothesis: str) -> int:
    """Substitutions, deletions and insertions between two texts of space-separated words (Levenshtein)."""
    heard = hypothesis.split()
    row = list(range(len(heard) + 1))  # row[j]: errors between the reference so far and the first j words heard
    for i, said in enumerate(reference.split(), start=1):
        diagonal, row[0] = row[0], i
        for j, word in enumerate(heard, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (said != word))
    return row[-1]


def wer(pairs: Iterable[tuple[str, str]]) -> float:
    """Word error rate of (reference, hypothesis) pairs: errors over reference words, 0.05 for 5 %."""
    errors = words = 0
    for reference, hypothesis in pairs:
        errors += word_errors(reference, hypothesis)
        words += len(reference.split())
    return errors / max(1, words)


def bootstrap_interval(
    errors: Sequence[float], counts: Sequence[float], seed: int = 0, rounds: int = 2000
) -> tuple[float, float]:
    """95 % percentile interval of sum(errors) / sum(counts), whole items (utterances) drawn with replacement."""
    totals, drawn = _draws([errors, counts], seed, rounds)
    return _percentiles(totals / np.maximum(drawn, 1e-9))


def paired_bootstrap(
    errors: Sequence[float],
    other_errors: Sequence[float],
    counts: Sequence[float],
    seed: int = 0,
    rounds: int = 2000,
) -> tuple[float, float, float]:
    """(difference, low, high) of the rates errors - other_errors on the same items; 95 % percentile interval."""
    differences = [mine - theirs for mine, theirs in zip(errors, other_errors, strict=True)]
    low, high = bootstrap_interval(differences, counts, seed, rounds)
    return sum(differences) / max(1e-9, sum(counts)), low, high


def proportion_interval(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion; sound for small n and for 0 or n successes."""
    if n == 0:
        return 0.0, 1.0
    rate = successes / n
    centre = (rate + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * (rate * (1 - rate) / n + Z**2 / (4 * n**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def _draws(lists: Sequence[Sequence[float]], seed: int, rounds: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sums [lists, rounds] of resampled values, the same items of every list; the same seed draws the same ones."""
    values = np.asarray(lists, dtype=np.float64)
    items = values.shape[1]
    chooser = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // items)  # so that a large test set does not fill the memory
    parts = [
        values[:, chooser.integers(0, items, (min(at_once, rounds - first), items))].sum(axis=2)
        for first in range(0, rounds, at_once)
    ]
    return np.concatenate(parts, axis=1)


def _percentiles(rates: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    low, high = np.percentile(rates, [50 * (1 - CONFIDENCE), 100 - 50 * (1 - CONFIDENCE)])
    return float(low), float(high)
