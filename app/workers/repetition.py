"""A model that has lost its way says the same few tokens for ever. Knows no model and no text."""

from __future__ import annotations

from collections.abc import Sequence

CYCLE = 8  # tokens of the longest phrase that is looked for
TIMES = 5  # that it comes in a row
LEAST = 20  # tokens in all: a large number may have a dozen zeros, and who is asked to says "ha" quite often
LONGEST = max(LEAST, CYCLE * TIMES)


def loops(tokens: Sequence[int]) -> bool:
    """Whether the tokens end with one phrase over and over; more than the last LONGEST of them say nothing more."""
    return any(_repeats(tokens, cycle, max(LEAST, cycle * TIMES)) for cycle in range(1, CYCLE + 1))


def _repeats(tokens: Sequence[int], cycle: int, length: int) -> bool:
    if len(tokens) < length:
        return False
    return all(tokens[-at] == tokens[-at - cycle] for at in range(1, length - cycle + 1))
