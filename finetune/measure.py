"""Word errors and how sure a figure is: WER, bootstrap and Wilson intervals. Knows no model, file or language pack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

CONFIDENCE = 0.95
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
    totals = _draws(errors, seed, rounds)
    rates = totals / np.maximum(_draws(counts, seed, rounds), 1e-9)
    return _percentiles(rates)


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


def _draws(values: Sequence[float], seed: int, rounds: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Sums [rounds] of resampled values; the same seed draws the same items for every list of one length."""
    items = np.asarray(values, dtype=np.float64)
    chooser = np.random.default_rng(seed)
    return np.array([items[chooser.integers(0, len(items), len(items))].sum() for _ in range(rounds)])


def _percentiles(rates: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    low, high = np.percentile(rates, [50 * (1 - CONFIDENCE), 100 - 50 * (1 - CONFIDENCE)])
    return float(low), float(high)
