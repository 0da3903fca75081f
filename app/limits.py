"""What a key has used, and how much it may: sessions at once, requests a minute, minutes of audio a day.

Counted in the database, so that all gateway processes count together. Functions work within a transaction, and raise
LimitReached, which undoes what they have added.
"""

from __future__ import annotations

import time
from typing import cast

from sqlalchemy import BigInteger, String, Table, bindparam, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.errors import LimitReached
from app.keys import ApiKey, Base, lock

MINUTE, DAY = 60, 86_400  # seconds
SESSION_RETRY_SECONDS = 5
LOST_SECONDS = 30.0  # a session that has not been heard of for so long belongs to a process that has died


class OpenSession(Base):
    """One call under way."""

    __tablename__ = "open_sessions"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), index=True)
    seen_at: Mapped[float]


class Count(Base):
    """What a key has used in one minute or day, by UTC."""

    __tablename__ = "counts"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    what: Mapped[str] = mapped_column(String(16), primary_key=True)
    """requests, or audio in seconds."""
    since: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Unix time at which the minute or day began."""
    amount: Mapped[float]


_COUNTS = cast(Table, Count.__table__)
_ADD = (
    update(_COUNTS)
    .where(_COUNTS.c.key == bindparam("of"), _COUNTS.c.what == bindparam("kind"), _COUNTS.c.since == bindparam("begun"))
    .values(amount=_COUNTS.c.amount + bindparam("more"))
    .returning(_COUNTS.c.amount)
)


def count_request(session: Session, key: ApiKey) -> None:
    """One request more in this minute, where the key has a limit."""
    if key.requests_per_minute is None:
        return
    now = int(time.time())
    since = now - now % MINUTE
    if _add(session, key.id, "requests", since, 1) > key.requests_per_minute:
        raise LimitReached(
            f"This key may send {key.requests_per_minute} requests a minute, and has sent them",
            retry_after=since + MINUTE - now,
        )


def check_audio(session: Session, key: ApiKey) -> None:
    """Whether there is audio left today."""
    if key.audio_minutes_per_day is not None and audio_today(session, key) >= key.audio_minutes_per_day * 60:
        now = int(time.time())
        raise LimitReached(
            f"This key may use {key.audio_minutes_per_day} minutes of audio a day, and has used them",
            retry_after=DAY - now % DAY,
            code="insufficient_quota",  # by which clients know that it is no use to dial again at once
        )


def audio_today(session: Session, key: ApiKey) -> float:
    """Seconds heard and spoken today."""
    now = int(time.time())
    return _used(session, key.id, "audio", now - now % DAY)


def enter(session: Session, key: ApiKey, name: str) -> None:
    """One call more of a key that is locked; its `name` is anything of its own."""
    now = time.time()
    session.execute(delete(OpenSession).where(OpenSession.key == key.id, OpenSession.seen_at < now - LOST_SECONDS))
    session.add(OpenSession(id=name, key=key.id, seen_at=now))
    session.flush()
    there = session.scalar(select(func.count()).select_from(OpenSession).where(OpenSession.key == key.id)) or 0
    if key.sessions is not None and there > key.sessions:
        raise LimitReached(
            f"This key may have {key.sessions} sessions at once, and has them", retry_after=SESSION_RETRY_SECONDS
        )


def stay(session: Session, key_id: str, name: str) -> None:
    """The call is still there."""
    session.merge(OpenSession(id=name, key=key_id, seen_at=time.time()))


def leave(session: Session, name: str) -> None:
    """The call is over."""
    session.execute(delete(OpenSession).where(OpenSession.id == name))


def add_audio(session: Session, key_id: str, seconds: float) -> None:
    """So much more was heard or spoken."""
    now = int(time.time())
    _add(session, key_id, "audio", now - now % DAY, seconds)


def _add(session: Session, key: str, what: str, since: int, amount: float) -> float:
    """The new sum."""
    this = {"of": key, "kind": what, "begun": since, "more": amount}
    total = session.scalar(_ADD, this)
    if total is None:
        lock(session, key)  # the first one of this minute or day makes the row; others wait, and find it
        total = session.scalar(_ADD, this)
    if total is None:
        session.execute(delete(Count).where(Count.key == key, Count.what == what, Count.since < since))
        session.add(Count(key=key, what=what, since=since, amount=amount))
        session.flush()
        return amount
    return float(total)


def _used(session: Session, key: str, what: str, since: int) -> float:
    this = (Count.key == key, Count.what == what, Count.since == since)
    return session.scalar(select(Count.amount).where(*this)) or 0.0
