"""Files, jobs and their events in a database, so that they survive the service. Knows no process and no HTTP.

A job's status is the truth that processes are made to follow: routes and the runner, which may be different processes,
change it by `move` alone, which refuses what TRANSITIONS does not allow.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text, delete, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.database import Database
from app.errors import JobsUnavailable, NotFound

TRANSITIONS: Final[Mapping[str, frozenset[str]]] = {
    # to -> from
    "validating_files": frozenset({"paused"}),
    "queued": frozenset({"validating_files", "running", "paused"}),
    "running": frozenset({"queued"}),
    "paused": frozenset({"validating_files", "queued", "running"}),
    "succeeded": frozenset({"running"}),
    "failed": frozenset({"validating_files", "queued", "running"}),
    "cancelled": frozenset({"validating_files", "queued", "running", "paused"}),
}
"""Running to queued: the service has ended meanwhile. The last three are final."""
ACTIVE: Final = ("validating_files", "queued", "running")
Row = TypeVar("Row")
SOME_IDS = 500  # in one question: databases have their limits


class Base(DeclarativeBase):
    """Tables."""


class File(Base):
    """An uploaded or resulting file; its bytes are in the jobs folder."""

    __tablename__ = "files"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int] = mapped_column(BigInteger)
    purpose: Mapped[str] = mapped_column(String(32))
    path: Mapped[str] = mapped_column(Text)
    """Within the jobs folder."""


class Job(Base):
    """One training."""

    __tablename__ = "jobs"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(32), index=True)
    model: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(String(32))
    """As it was asked for: supervised, recognizer, language, synthesizer or joint."""
    configuration: Mapped[str] = mapped_column(Text)
    """Name of a recipe's configuration, `language_tiny`."""
    hyperparameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    training_file: Mapped[str] = mapped_column(Text)
    validation_file: Mapped[str | None] = mapped_column(Text)
    suffix: Mapped[str | None] = mapped_column(String(64))
    seed: Mapped[int] = mapped_column(BigInteger)
    dry_run: Mapped[bool]
    job_metadata: Mapped[dict[str, str]] = mapped_column(JSON)
    overrides: Mapped[list[str] | None] = mapped_column(JSON)
    """Of the recipe's command line; None until the data are there."""
    device: Mapped[str | None] = mapped_column(String(32))
    fine_tuned_model: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)
    estimated_finish: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    result_files: Mapped[list[str]] = mapped_column(JSON)
    report: Mapped[str | None] = mapped_column(Text)
    """What a dry run has said."""


class Event(Base):
    """What happened to a job: a sentence, or measurements."""

    __tablename__ = "events"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(128), unique=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    level: Mapped[str] = mapped_column(String(8))
    type: Mapped[str] = mapped_column(String(8))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Store:
    """The database; several processes may have it open. Methods raise JobsUnavailable where it fails."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """`url` is SQLAlchemy's; empty: SQLite in the jobs folder. Nothing is opened or made before it is needed."""
        self._database = Database(
            url or folder / "jobs.sqlite", Base.metadata, of="fine-tuning jobs", failure=JobsUnavailable
        )

    @property
    def begun(self) -> bool:
        """Whether there may be jobs: reading does not make a database."""
        return self._database.begun

    def close(self) -> None:
        """Ends the connections."""
        self._database.close()

    def add(self, *rows: Base) -> None:
        """Adds rows."""
        with self._database.session() as session:
            session.add_all(rows)

    def file(self, name: str) -> File:
        """Raises NotFound."""
        with self._database.session() as session:
            return _there(session.scalar(select(File).where(File.id == name)), "file", name)

    def files(self, purpose: str, after: str, limit: int, oldest_first: bool) -> tuple[list[File], bool]:
        """Files, and whether there are more. Raises NotFound for an unknown `after`."""
        with self._database.session() as session:
            wanted = select(File).order_by(File.number.asc() if oldest_first else File.number.desc())
            if purpose:
                wanted = wanted.where(File.purpose == purpose)
            if after:
                last = _there(session.scalar(select(File).where(File.id == after)), "file", after).number
                wanted = wanted.where(File.number > last if oldest_first else File.number < last)
            return _page(session.scalars(wanted.limit(limit + 1)).all(), limit)

    def remove_file(self, name: str) -> None:
        """Forgets a file."""
        with self._database.session() as session:
            session.execute(delete(File).where(File.id == name))

    def job(self, name: str) -> Job:
        """Raises NotFound."""
        with self._database.session() as session:
            return _there(session.scalar(select(Job).where(Job.id == name)), "fine-tuning job", name)

    def jobs(self, after: str, limit: int, metadata: Mapping[str, str] | None = None) -> tuple[list[Job], bool]:
        """Newest first, and whether there are more. Raises NotFound for an unknown `after`."""
        wanted = select(Job).order_by(Job.number.desc())
        for key, value in (metadata or {}).items():
            wanted = wanted.where(Job.job_metadata[key].as_string() == value)
        with self._database.session() as session:
            if after:
                last = _there(session.scalar(select(Job).where(Job.id == after)), "fine-tuning job", after)
                wanted = wanted.where(Job.number < last.number)
            return _page(session.scalars(wanted.limit(limit + 1)).all(), limit)

    def jobs_in(self, *statuses: str) -> list[Job]:
        """Oldest first."""
        with self._database.session() as session:
            return list(session.scalars(select(Job).where(Job.status.in_(statuses)).order_by(Job.number)))

    def move(self, name: str, to: str, message: str = "", **values: Any) -> bool:
        """Moves a job to a status, with what changes along; False, and nothing, where it may not go there from its own.

        `message` becomes an event.
        """
        with self._database.session() as session:
            changed = session.execute(
                update(Job).where(Job.id == name, Job.status.in_(TRANSITIONS[to])).values(status=to, **values)
            )
            moved = bool(getattr(changed, "rowcount", 0))
            if moved and message:
                session.add(_event(name, message, "error" if to == "failed" else "info"))
            return moved

    def change(self, name: str, **values: Any) -> None:
        """Changes what does not depend on the status."""
        with self._database.session() as session:
            session.execute(update(Job).where(Job.id == name).values(**values))

    def note(self, name: str, message: str, level: str = "info") -> None:
        """An event in words."""
        self.add(_event(name, message, level))

    def measured(self, name: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Events of measurements by their ids; one that is there already stays as it is."""
        ids = {f"ftevent-{name.removeprefix('ftjob-')}-{key}": data for key, data in rows.items()}
        with self._database.session() as session:
            known: set[str] = set()
            for i in range(0, len(ids), SOME_IDS):
                known.update(session.scalars(select(Event.id).where(Event.id.in_([*ids][i : i + SOME_IDS]))))
            for whole, data in ids.items():
                if whole not in known:
                    total = f"/{data['total_steps']}" if data.get("total_steps") else ""
                    where = f"{data['stage']}, step" if data.get("stage") else "Step"
                    said = ", ".join(
                        f"{name}={value:.4g}"
                        for name, value in data.items()
                        if isinstance(value, float) and name != "seconds"
                    )
                    session.add(
                        _event(name, f"{where} {data['step']}{total}: {said}", "info", "metrics", dict(data), whole)
                    )

    def events(self, name: str, after: str, limit: int, kind: str = "") -> tuple[list[Event], bool]:
        """Newest first, of one type where one is named, and whether there are more. Raises NotFound."""
        self.job(name)
        wanted = select(Event).where(Event.job == name).order_by(Event.number.desc())
        if kind:
            wanted = wanted.where(Event.type == kind)
        with self._database.session() as session:
            if after:
                last = _there(session.scalar(select(Event).where(Event.id == after)), "event", after)
                wanted = wanted.where(Event.number < last.number)
            return _page(session.scalars(wanted.limit(limit + 1)).all(), limit)


def new_id(kind: str) -> str:
    """`ftjob-...`, `file-...`."""
    return f"{kind}-{uuid.uuid4().hex[:24]}"


def now() -> int:
    """Unix time."""
    return int(time.time())


def _event(
    job: str, message: str, level: str, kind: str = "message", data: dict[str, Any] | None = None, name: str = ""
) -> Event:
    return Event(
        id=name or new_id("ftevent"), job=job, created_at=now(), level=level, type=kind, message=message, data=data
    )


def _there(found: Row | None, kind: str, name: str) -> Row:
    if found is None:
        raise NotFound(f"there is no {kind} {name!r}")
    return found


def _page(rows: Sequence[Row], limit: int) -> tuple[list[Row], bool]:
    return list(rows[:limit]), len(rows) > limit
