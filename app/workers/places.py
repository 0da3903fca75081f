"""The URLs of one stage: which is asked next, and which rests since it failed. Sans-I/O; knows no stage.

The one with the least open work of ours is asked first. One that failed rests for a while, longer each time, and is
asked meanwhile only where every other rests too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.errors import WorkerBusy, WorkerError, WorkerUnavailable

FIRST_REST_SECONDS = 0.5
LONGEST_REST_SECONDS = 30.0

S = TypeVar("S")


@dataclass(slots=True, eq=False)
class Place(Generic[S]):
    """One URL and the worker behind it."""

    url: str
    worker: S
    open: int = 0
    """Utterances, replies or clauses of ours under way there."""
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    """By the clock of `Places`."""
    base_sha256: str | None = None
    """Hash of the language base that is served there; empty: the server does not say; None: not asked yet."""


class Places(Generic[S]):
    """Every URL of one stage."""

    def __init__(self, workers: Mapping[str, S], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Workers by URL, at least one. `clock` in seconds."""
        if not workers:
            raise ValueError("got no URL, expected at least one")
        self.all = [Place(url, worker) for url, worker in workers.items()]
        self._clock = clock

    def next(self, refusals: Mapping[str, WorkerError], among: Sequence[Place[S]] | None = None) -> Place[S] | None:
        """Whom to ask after `refusals`, by URL: those that rest come last, and never where another is only full."""
        left = [place for place in (self.all if among is None else among) if place.url not in refusals]
        if awake := [place for place in left if not self.rests(place)]:
            return min(awake, key=lambda place: place.open)
        if any(isinstance(error, WorkerBusy) for error in refusals.values()):
            return None
        return min(left, key=lambda place: place.rests_until, default=None)

    def rests(self, place: Place[S]) -> bool:
        """Whether the place failed a short while ago."""
        return self._clock() < place.rests_until

    def failed(self, place: Place[S]) -> None:
        """Nobody answered there."""
        rest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**place.failures)
        place.failures += 1
        place.rests_until = self._clock() + rest
        place.base_sha256 = None  # whoever comes back there may serve another one

    def answered(self, place: Place[S]) -> None:
        """The place is well."""
        place.failures = 0
        place.rests_until = 0.0


def nobody(refusals: Mapping[str, WorkerError]) -> WorkerError:
    """The error where no URL took the work, by what each answered: WorkerBusy if all that live are full."""
    if len(refusals) == 1:
        return next(iter(refusals.values()))
    told = "; ".join(f"{url}: {error.message}" for url, error in refusals.items())
    if any(isinstance(error, WorkerBusy) for error in refusals.values()):
        return WorkerBusy(f"none of {len(refusals)} workers has room ({told})")
    return WorkerUnavailable(f"none of {len(refusals)} workers answers ({told})")
