"""Keys and counts for the requests of one process: the database's work, off the event loop. Knows no route.

Every request looks its key up in the database, so that a new key works and a revoked one ends at once in all processes.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app import keys, limits
from app.callers import Caller, Grant, Wanted, permit
from app.database import Database
from app.visits import Visit

SETTLE_SECONDS = 5.0


class Accounts:
    """One database; methods raise DatabaseUnavailable."""

    def __init__(self, database: Database, *, settle_seconds: float = SETTLE_SECONDS) -> None:
        """`settle_seconds`: how often a call's audio is counted and its key looked at."""
        self.settle_seconds = settle_seconds
        self._database = database
        self._made: frozenset[str] = frozenset()

    async def visit(
        self, key: str | None, known: Caller | None, wanted: Wanted, *, closed: bool, operators: bool
    ) -> Visit:
        """A request that the keys of the settings do not let in. Raises AccessDenied, LimitReached.

        `known`: whom the settings take the key for. `closed`: they ask for one. `operators`: they have operators' keys.
        """
        if not self._database.begun:
            return Visit(permit(known, wanted, key=key, closed=closed, operators=operators))

        def admit(session: Session) -> Caller:
            if wanted.scope not in self._made:  # once made, a key is never unmade
                self._made = keys.scopes_made(session)
            made = self._made
            caller, row = (keys.find(session, key) if key is not None else None) or (known, None)
            asked = closed or wanted.scope in made or bool(made and wanted.scope == "operator")
            caller = permit(caller, wanted, key=key, closed=asked, operators=operators or "operator" in made)
            if row is not None and caller.counted:
                keys.note_use(session, row)
                limits.count_request(session, row)
                if wanted.audio:
                    limits.check_audio(session, row)
            return caller

        return Visit(await self._database.run(admit), self)

    async def enter(self, key: str, call: str) -> None:
        """One call more of a key. Raises LimitReached, AccessDenied."""
        await self._database.run(lambda session: limits.enter(session, keys.touch(session, key), call))

    async def stay(self, key: str, call: str) -> None:
        """The call is still there. Raises LimitReached where the key has no audio left, AccessDenied once revoked."""

        def look(session: Session) -> None:
            row = keys.touch(session, key)
            limits.stay(session, key, call)
            limits.check_audio(session, row)

        await self._database.run(look)

    async def leave(self, call: str) -> None:
        """The call is over."""
        await self._database.run(lambda session: limits.leave(session, call))

    async def add_audio(self, key: str, seconds: float) -> None:
        """So much more was heard or spoken."""
        await self._database.run(lambda session: limits.add_audio(session, key, seconds))

    async def make_secret(self, caller: Caller, grant: Grant, expires_at: int) -> str:
        """A client secret of this caller's."""
        return await self._database.run(lambda session: keys.make_secret(session, caller.key, grant, expires_at))

    def close(self) -> None:
        """Ends threads and connections."""
        self._database.close()
