"""One request or call of somebody who has come in: what it uses, and when it must end. Knows no route and no database.

A call under way looks at its key every few seconds, when it writes down what was heard and spoken.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn

from app.callers import ANYBODY, Caller
from app.errors import DatabaseUnavailable
from app.server_events import new_id

if TYPE_CHECKING:
    from app.accounts import Accounts  # which loads SQLAlchemy; workers and commands need none

log = logging.getLogger("parley.visits")


class Visit:
    """One request or call."""

    def __init__(self, caller: Caller = ANYBODY, accounts: Accounts | None = None) -> None:
        """Without `accounts` nothing is counted."""
        self.caller = caller
        self.audio_seconds = 0.0
        """Heard and spoken by a request so far; whoever hears and speaks adds to it."""
        self.measure: Callable[[], float] = lambda: self.audio_seconds
        """The same of a call, asked for when it is needed, so that no frame is counted."""
        self._name = new_id("visit")
        self._accounts = accounts if caller.counted else None
        self._settled = 0.0

    @contextlib.asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """A call, while the block lasts. Raises LimitReached, AccessDenied, DatabaseUnavailable."""
        if self._accounts is None:
            yield
            return
        await self._accounts.enter(self.caller.key, self._name)
        try:
            yield
        finally:
            await self.settle()
            await _if_possible(self._accounts.leave(self._name))

    async def watch(self) -> NoReturn:
        """Counts while the call lasts. Raises AccessDenied once the key is revoked, LimitReached without audio left."""
        if self._accounts is None:
            await asyncio.Event().wait()
        assert self._accounts is not None
        while True:
            await asyncio.sleep(self._accounts.settle_seconds)
            await self.settle()
            await _if_possible(self._accounts.stay(self.caller.key, self._name))

    async def settle(self) -> None:
        """Counts what has not been counted yet; where the database fails, the next time."""
        more = self.measure() - self._settled
        if self._accounts is None or more <= 0:
            return
        if await _if_possible(self._accounts.add_audio(self.caller.key, more)):
            self._settled += more


async def _if_possible(writing: Awaitable[None]) -> bool:
    """Whether it was: a database that fails now ends nobody's call."""
    try:
        await writing
    except DatabaseUnavailable as error:
        log.warning("not counted: %s", error.message)
        return False
    return True


def visit_of(scope: MutableMapping[str, Any]) -> Visit:
    """The visit that an ASGI scope belongs to."""
    visit: Visit = scope.setdefault("parley.visit", Visit())
    return visit
