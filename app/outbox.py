"""One caller's bounded outbox: what is said waits here until the socket takes it. Knows no socket and no session.

When it is full, whoever speaks waits: a slow reader slows its own reply down and nobody else's. Only what was taken
out counts as said, so a barge-in can drop the rest and know exactly what the caller got.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """A bounded queue whose waiting entries can be dropped."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[T] = deque()
        self._limit = limit
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._entries)

    async def put(self, *entries: T) -> None:
        """Adds entries in order and unbroken, once there is room for the first."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._entries) < self._limit)
            self._entries.extend(entries)
            self._changed.notify_all()

    async def get(self) -> T:
        """The oldest entry, as soon as there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._entries))
            entry = self._entries.popleft()
            self._changed.notify_all()
            return entry

    async def drop(self, stale: Callable[[T], bool]) -> list[T]:
        """Takes out every waiting entry that is stale, and gives them back."""
        async with self._changed:
            dropped = [entry for entry in self._entries if stale(entry)]
            self._entries = deque(entry for entry in self._entries if not stale(entry))
            self._changed.notify_all()
            return dropped
