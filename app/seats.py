"""How many may call at once, and nobody new where the core is full or the process is being replaced.

Knows no session, socket or signal.
"""

from __future__ import annotations

import asyncio
import time

from app.errors import ServiceFull
from app.loop_load import LoopLoad


class Seats:
    """As many `with` blocks at once as there are seats and the loop carries; one more raises ServiceFull.

    So does any while draining.
    """

    def __init__(self, seats: int, *, drain_seconds: float, load: LoopLoad) -> None:
        """`drain_seconds`: how long those who sit may stay once draining has begun."""
        self.drain_seconds = drain_seconds
        self._load = load
        self._seats = seats
        self._taken = 0
        self._draining = asyncio.Event()
        self._deadline = 0.0

    def __enter__(self) -> None:
        if self.draining:
            raise ServiceFull("This service is being replaced; call again in a moment", code="service_draining")
        if self._taken >= self._seats:
            raise ServiceFull(f"All {self._seats} sessions are taken; try again in a moment")
        if self._taken and self._load.full:
            raise ServiceFull(f"{self._taken} sessions fill this process's core; call again in a moment")
        self._taken += 1

    def __exit__(self, *_: object) -> None:
        self._taken -= 1

    def drain(self) -> None:
        """From now on nobody sits down."""
        self._deadline = time.monotonic() + self.drain_seconds
        self._draining.set()

    @property
    def draining(self) -> bool:
        """Whether it has begun."""
        return self._draining.is_set()

    @property
    def drained(self) -> bool:
        """Whether all have left, or their time is over."""
        return self.draining and (not self._taken or time.monotonic() >= self._deadline)

    async def until_draining(self) -> None:
        """Returns when it begins."""
        await self._draining.wait()
