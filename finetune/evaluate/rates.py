"""How good, and how sure: rates with intervals by speaker, differences of two packs, slices. Knows no audio or model.

Whoever speaks twice makes twice the same mistakes, so speakers are drawn with all that they said (a cluster bootstrap);
with one speaker utterances are drawn, and a figure then says nothing about other speakers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.measure import CONFIDENCE, bootstrap_interval, paired_bootstrap, proportion_interval

ONE_SPEAKER = "no speaker generalisation measured"
ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class Score:
    """What one item got."""

    errors: float
    """Or points, where more is better."""
    count: float
    """What they are of: words, characters, or 1."""
    speaker: str = ""
    """Or whatever else belongs together, for instance a dialogue."""
    slices: Mapping[str, str] | None = None
    """Dimension to value, for instance gender -> female."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """What was counted: words, characters, items."""
    groups: int
    """Speakers, or whatever was drawn; below 2: items were."""

    def drawn(self, group: str = "speaker") -> str:
        """What the interval is of, in words."""
        if self.groups > 1:
            return f"{self.groups} {group}s, interval by {group}"
        return f"interval by item, {ONE_SPEAKER}" if group == "speaker" else "interval by item"


def rate(scores: Sequence[Score]) -> Rate:
    """Errors over counts of all items. Raises ValueError without items."""
    if not scores:
        raise ValueError("got no items, expected at least one")
    errors, counts = _grouped(scores, [score.errors for score in scores])
    if all(count == 1 for count in counts) and all(error in (0, 1) for error in errors):
        low, high = proportion_interval(int(sum(errors)), len(errors))  # a bootstrap of 9 of 9 is sure of itself
    else:
        low, high = bootstrap_interval(errors, counts)
    n = sum(score.count for score in scores)
    return Rate(sum(errors) / max(1e-9, n), low, high, round(n), _groups(scores))


def difference(mine: Sequence[Score], theirs: Sequence[Score]) -> Rate:
    """Rate of `mine` less that of `theirs`, on the same items in the same order; paired. Raises ValueError."""
    if not mine or len(mine) != len(theirs):
        raise ValueError(f"got {len(mine)} and {len(theirs)} items, expected as many of both, at least one")
    my_errors, counts = _grouped(mine, [score.errors for score in mine])
    their_errors, _ = _grouped(mine, [score.errors for score in theirs])
    value, low, high = paired_bootstrap(my_errors, their_errors, counts)
    return Rate(value, low, high, round(sum(score.count for score in mine)), _groups(mine))


def by_slice(scores: Sequence[Score]) -> dict[str, list[int]]:
    """Numbers of the items of each slice, "dimension: value"; dimensions that all items share a value of are none."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for number, score in enumerate(scores):
        for dimension, value in {"speaker": score.speaker, **(score.slices or {})}.items():
            if value:
                found[f"{dimension}: {value}"].append(number)
    return {name: numbers for name, numbers in sorted(found.items()) if len(numbers) < len(scores)}


def quantile(values: Sequence[float], share: float, seed: int = 0) -> tuple[float, float, float]:
    """(value, low, high) of a quantile, for instance 0.5; 95 % bootstrap interval by item."""
    items = np.asarray(values, dtype=np.float64)
    draw = np.random.default_rng(seed)
    drawn = [np.quantile(items[draw.integers(0, len(items), len(items))], share) for _ in range(ROUNDS)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(np.quantile(items, share)), float(low), float(high)


def _groups(scores: Sequence[Score]) -> int:
    return len({score.speaker for score in scores if score.speaker})


def _grouped(scores: Sequence[Score], errors: Sequence[float]) -> tuple[list[float], list[float]]:
    """Errors and counts by what is drawn: speakers, where there are several."""
    if _groups(scores) < 2:
        return list(errors), [score.count for score in scores]
    errors_of: defaultdict[str, float] = defaultdict(float)
    counts_of: defaultdict[str, float] = defaultdict(float)
    for score, error in zip(scores, errors, strict=True):
        errors_of[score.speaker] += error
        counts_of[score.speaker] += score.count
    return list(errors_of.values()), list(counts_of.values())
