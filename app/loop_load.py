"""How much of a core the event loop uses, by which a process knows that it carries no more. Knows no session."""

from __future__ import annotations

import asyncio
import time
from collections import deque

WINDOW_SECONDS = 1.0
WINDOWS = 5  # in a row: a caller whose sentence ends, or a page that loads, fills a core for moments only
FULL = 0.9  # of a core; what is left is soon taken by those who are here, and then each waits for all others


class LoopLoad:
    """The latest shares of a core."""

    def __init__(self) -> None:
        self._shares: deque[float] = deque(maxlen=WINDOWS)

    @property
    def full(self) -> bool:
        """Whether one caller more would be heard and answered late, and everybody with him."""
        return len(self._shares) == WINDOWS and min(self._shares) >= FULL

    def note(self, busy_seconds: float, seconds: float) -> None:
        """So much of the last window the loop's thread has computed."""
        self._shares.append(busy_seconds / seconds)

    async def watch(self) -> None:
        """Measures until cancelled, on the loop that it is about."""
        while True:
            busy, now = time.thread_time(), time.monotonic()
            await asyncio.sleep(WINDOW_SECONDS)
            self.note(time.thread_time() - busy, time.monotonic() - now)
