"""A database of the service: an SQLite file, or any server by URL. Knows no table.

Several processes may have it open. Nothing is opened or made before it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.errors import DatabaseUnavailable, ParleyError

LOCK_SECONDS = 30  # that a process waits for another one's write to SQLite
THREADS = 4  # a database that hangs holds these up and nothing else
ANSWER_SECONDS = 10.0  # for a database to answer whoever waits on the event loop
T = TypeVar("T")


class Database:
    """One database and its tables."""

    def __init__(
        self,
        place: str | Path,
        tables: MetaData,
        *,
        of: str,
        synchronous: Literal["NORMAL", "FULL"] = "FULL",
        failure: type[ParleyError] = DatabaseUnavailable,
    ) -> None:
        """`place`: a file, or SQLAlchemy's URL. `of`: what is in it, in words; `failure` is raised where it fails.

        `synchronous` is SQLite's: with NORMAL, a power cut may cost the last writes, and a write costs no fsync.
        """
        self._file = None if "://" in str(place) else Path(place)
        self._url = str(place) if self._file is None else f"sqlite:///{self._file}"
        self._tables = tables
        self._of = of
        self._synchronous = synchronous
        self._failure = failure
        self._engine: Engine | None = None
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, of.replace(" ", "-"))

    @property
    def begun(self) -> bool:
        """Whether anything may be in it: reading does not make a database."""
        return self._file is None or self._file.exists()

    def close(self) -> None:
        """Ends threads and connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.dispose()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction: all of the block or nothing. Raises `failure` where the database fails."""
        try:
            with Session(self._opened(), expire_on_commit=False) as session, session.begin():
                yield session
        except BrokenPipeError:
            raise  # of the block: nobody reads what a command prints
        except ImportError as error:
            raise self._failure(
                f"the database of {self._of} needs {error.name}, which is not installed; expected an SQLite file, or"
                f" for PostgreSQL postgresql+pg8000://... and the extra `postgres`"
            ) from error
        except (SQLAlchemyError, OSError) as error:
            # The driver's own words: SQLAlchemy's have the statement with its values in them.
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise self._failure(f"the database of {self._of} cannot be used: {reason}") from error

    async def run(self, work: Callable[[Session], T]) -> T:
        """`work` in a transaction, off the event loop. Raises `failure`, and what `work` raises."""

        def transact() -> T:
            with self.session() as session:
                return work(session)

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, transact)
        except TimeoutError:
            raise self._failure(f"the database of {self._of} gave no answer in {ANSWER_SECONDS:.0f} s") from None

    def forget(self) -> None:
        """Takes out of SQLite's journal what has been deleted; servers do so in their own time."""
        if self._file is not None and self.begun:
            with self.session() as session:
                session.connection().exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = self._open()
            return self._engine

    def _open(self) -> Engine:
        if self._file is None:
            engine = create_engine(self._url, pool_pre_ping=True)
        else:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch(mode=0o600)  # keys and conversations are nobody else's; SQLite's other files follow it
            engine = create_engine(self._url, connect_args={"timeout": LOCK_SECONDS})
            event.listen(engine, "connect", self._tune)
        try:
            self._tables.create_all(engine)
        except SQLAlchemyError:
            self._tables.create_all(engine)  # another process was making the tables just then
        return engine

    def _tune(self, connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
