"""Errors over amounts of data as a power law with a floor, and what it says of amounts that nobody has. Knows no run.

error(n) = floor + scale * n ** -exponent, as Hestness and others found ("Deep learning scaling is predictable,
empirically", 2017). Four points or so leave many such laws open, so that none is chosen: each counts by how well it
fits, and everything is said with the interval that holds 95 % of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
FAR = 100.0
"""Times the data that is there: what is said beyond is no more than a guess."""
EXPONENTS = np.linspace(0.01, 1.0, 100)
"""All as likely before anything is measured; found ones are between 0.05 and 0.7."""
FLOORS = np.linspace(0.0, 0.99, 100)
"""In shares of the least error, all as likely before."""
LEAST_SCATTER = 0.02
"""Relative, of a measured error: points that lie on a law by chance are no surer than that."""


@dataclass(frozen=True)
class Curves:
    """Laws, [C] each, with their weights. Amounts are in shares of what is there."""

    floor: Floats
    scale: Floats
    exponent: Floats
    weight: Floats
    """How likely each is, given the points; they sum to 1."""

    def errors(self, amount: float) -> tuple[float, float, float]:
        """(median, low, high) of the error after learning from an amount."""
        return self._told(self.floor + self.scale * amount**-self.exponent)

    def amounts(self, target: float) -> tuple[float, float, float]:
        """(median, low, high) of the amount that a target takes; infinite where no amount would do."""
        above = np.maximum(target - self.floor, 1e-300)
        with np.errstate(over="ignore"):
            needed = (self.scale / above) ** (1 / self.exponent)
        return self._told(np.where(target > self.floor, needed, np.inf))

    def _told(self, values: Floats) -> tuple[float, float, float]:
        order = np.argsort(values)
        below = np.cumsum(self.weight[order])
        low, middle, high = (
            float(values[order[min(int(np.searchsorted(below, share)), len(order) - 1)]])
            for share in ((1 - CONFIDENCE) / 2, 0.5, (1 + CONFIDENCE) / 2)
        )
        return middle, low, high


def fit(amounts: Sequence[float], errors: Sequence[float]) -> Curves:
    """Every law of the grid, by Bayes' rule with relative scatter of unknown size.

    Raises ValueError for fewer than three amounts, and for errors that are not above 0.
    """
    if len(set(amounts)) < 3 or min(errors) <= 0:
        raise ValueError(f"got errors {list(errors)} of amounts {list(amounts)}, expected 3 amounts, errors above 0")
    n, e = np.asarray(amounts, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    floor, exponent = (grid.ravel() for grid in np.meshgrid(FLOORS * e.min(), EXPONENTS))
    falls = n[None, :] ** -exponent[:, None]  # [C, points]
    above = e[None, :] - floor[:, None]
    scale = (falls * above / e**2).sum(1) / (falls**2 / e**2).sum(1)  # least squares of relative errors
    missed = (((floor[:, None] + scale[:, None] * falls - e) / e) ** 2).sum(1)
    # The scatter is integrated out, which leaves a power of what is missed: fewer points tell fewer laws apart.
    logs = -0.5 * (len(n) - 1) * np.log(missed + len(n) * LEAST_SCATTER**2)
    weight = np.exp(logs - logs.max())
    return Curves(floor, scale, exponent, weight / weight.sum())


def answer(curves: Curves, target: float, measure: str, reached: float) -> dict[str, Any]:
    """How much more data a target takes, in words and numbers. `reached`: the error with all there is."""
    median, low, high = curves.amounts(target)
    found: dict[str, Any] = {
        "target": target, "times": _finite(median), "times_low": _finite(low), "times_high": _finite(high),
    }  # fmt: skip
    if reached <= target:
        words = f"{measure} {target:g} is reached: {reached:.4g} with the data that is there"
    elif low > FAR:
        words = f"{measure} {target:g} takes other means than data: even {FAR:g} times of it would not do"
    elif median > FAR:
        words = (
            f"this curve cannot tell how much data {measure} {target:g} takes: from {low:.2g} times what is there to "
            f"more than {FAR:g} times, 95 %; larger shares or --repeats say more"
        )
    elif high > FAR:
        words = (
            f"{measure} {target:g} takes about {median:.2g} times the data that is there, at the least {low:.2g} "
            f"times (95 %); that even {FAR:g} times would not do cannot be ruled out"
        )
    else:
        words = (
            f"{measure} {target:g} takes about {median:.2g} times the data that is there ({low:.2g} to {high:.2g} "
            f"times, 95 %)"
        )
    return found | {"words": words}


def _finite(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
