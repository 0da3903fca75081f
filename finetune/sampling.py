"""Which rows are in which batch: a function of seed and number, so that a sampler's position is one number.

Knows lengths only, no rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Batch = TypeVar("Batch")

JITTER = 0.1
"""Lengths are sorted with this much noise, so that a row meets others in each epoch."""


class Epochs(Generic[Batch]):
    """The batches of one epoch after another, by number."""

    def __init__(self, plan: Callable[[int], Sequence[Batch]]) -> None:
        """`plan` gives the batches of an epoch, always the same for the same one, and at least one."""
        self._plan = plan
        self._starts = [0]  # the number of each epoch's first batch, as far as they have been planned
        self._epoch, self._batches = -1, plan(0)[:0]

    def find(self, number: int) -> tuple[int, Batch]:
        """Epoch and batch of a number from 0 on."""
        while number >= self._starts[-1]:
            self._go_to(len(self._starts) - 1)
            self._starts.append(self._starts[-1] + len(self._batches))
        epoch = next(e for e in range(len(self._starts) - 2, -1, -1) if self._starts[e] <= number)
        self._go_to(epoch)
        return epoch, self._batches[number - self._starts[epoch]]

    def _go_to(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._plan(epoch)


def bucketed(lengths: Sequence[int], rows: int, rng: random.Random) -> list[list[int]]:
    """Batches of `rows` items of about one length, shuffled; the items' places in `lengths`."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i] * (1 + JITTER * rng.random()))
    batches = [order[i : i + rows] for i in range(0, len(order), rows)]
    rng.shuffle(batches)
    return batches


def packed(lengths: Sequence[int], size: int, rng: random.Random) -> list[list[int]]:
    """Rows of items that together are at most `size` long, shuffled. An item longer than that is alone."""
    order = list(range(len(lengths)))
    rng.shuffle(order)
    open_rows: list[tuple[int, list[int]]] = []  # room left, items
    closed: list[list[int]] = []
    for item in order:
        fits = next((i for i, (room, _) in enumerate(open_rows) if lengths[item] <= room), None)
        if fits is None:
            open_rows.append((size - lengths[item], [item]))
            if len(open_rows) > OPEN_ROWS:  # the fullest is closed, or a corpus would take quadratic time
                closed.append(open_rows.pop(min(range(len(open_rows)), key=lambda i: open_rows[i][0]))[1])
        else:
            room, items = open_rows[fits]
            open_rows[fits] = (room - lengths[item], [*items, item])
    rows = [*closed, *(items for _, items in open_rows)]
    rng.shuffle(rows)
    return rows


OPEN_ROWS = 64


def mixed(new: int, old: int, share: float, rng: random.Random) -> list[int]:
    """One epoch: all `new` items, and `old` ones that make up `share` of it; these count from `new` on."""
    if not old or not share:
        return list(range(new))
    wanted = round(new * share / (1 - share))
    drawn = [new + i for _ in range(wanted // old) for i in range(old)]
    return [*range(new), *drawn, *(new + i for i in rng.sample(range(old), wanted % old))]
