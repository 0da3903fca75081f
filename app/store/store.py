"""Conversations in a database: what was said, when, and how long it took. Knows no session and no HTTP.

Functions work within a transaction. Whose a conversation is, its `key` says: the id of an API key in its database,
`settings` for those of the settings, empty where no key is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sqlalchemy import JSON, BigInteger, LargeBinary, String, Text, delete, func, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.audio import BYTES_PER_SAMPLE, Pcm16
from app.database import Database
from app.errors import NotFound

Json: TypeAlias = dict[str, Any]
Standing = Literal["ours", "gone", "taken"]
"""Of a call towards its conversation: it may write, somebody has deleted it, another call goes on with it."""

RESUME_SECONDS = 60.0  # after the last sign of the call before


class Base(DeclarativeBase):
    """Tables."""


class Conversation(Base):
    """One conversation, over all calls that have gone on with it."""

    __tablename__ = "conversations"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    key: Mapped[str] = mapped_column(String(64), index=True)
    caller_id: Mapped[str] = mapped_column(Text)
    session: Mapped[str] = mapped_column(String(64))
    """The call that writes."""
    created_at: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[float]
    config: Mapped[Json] = mapped_column(JSON)


class StoredItem(Base):
    """One item as it is now: corrected by what was heard of it, gone once the client deletes it."""

    __tablename__ = "conversation_items"
    conversation: Mapped[str] = mapped_column(String(64), primary_key=True)
    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    position: Mapped[int]
    at: Mapped[float]
    """Unix time at which it came into being."""
    body: Mapped[Json] = mapped_column(JSON)
    private: Mapped[Json] = mapped_column(JSON)
    """What only a resumed call needs."""
    timings: Mapped[Json] = mapped_column(JSON)


class StoredAudio(Base):
    """Audio of one item, PCM16, with the caller's consent."""

    __tablename__ = "conversation_audio"
    conversation: Mapped[str] = mapped_column(String(64), primary_key=True)
    item: Mapped[str] = mapped_column(String(128), primary_key=True)
    rate: Mapped[int]
    """Hertz."""
    pcm: Mapped[bytes] = mapped_column(LargeBinary)


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed of a conversation since it was written last."""

    id: str
    key: str
    caller_id: str
    session: str
    config: Json
    items: Sequence[StoredItem] = ()
    gone: Sequence[str] = ()
    audio: Sequence[StoredAudio] = ()
    heard_ms: dict[str, int] = field(default_factory=dict)
    """By item, the end of what was heard of its audio."""


def conversations_database(place: str) -> Database:
    """Where conversations are: an SQLite file or a URL."""
    return Database(place, Base.metadata, of="conversations", synchronous="NORMAL")


def write(session: Session, change: Change, *, begun: bool) -> Standing:
    """Writes a change, unless the conversation is another's now. `begun`: it has been written before."""
    mine = (Conversation.id == change.id, Conversation.session == change.session)
    # Begins with what it writes: whoever else wants the conversation waits, on any database.
    seen = session.execute(update(Conversation).where(*mine).values(seen_at=time.time(), config=change.config))
    if not getattr(seen, "rowcount", 0):
        if session.scalar(select(Conversation.id).where(Conversation.id == change.id)) is not None:
            return "taken"
        if begun:
            return "gone"
        session.add(
            Conversation(
                id=change.id, key=change.key, caller_id=change.caller_id, session=change.session,
                created_at=int(time.time()), seen_at=time.time(), config=change.config,
            )
        )  # fmt: skip
    for entry in (*change.items, *change.audio):
        session.merge(entry)
    session.flush()
    for item, milliseconds in change.heard_ms.items():
        audio = session.get(StoredAudio, (change.id, item))
        if audio is not None:
            audio.pcm = audio.pcm[: milliseconds * audio.rate // 1000 * BYTES_PER_SAMPLE]
    for name in change.gone:
        session.execute(delete(StoredItem).where(StoredItem.conversation == change.id, StoredItem.id == name))
        session.execute(delete(StoredAudio).where(StoredAudio.conversation == change.id, StoredAudio.item == name))
    return "ours"


def resume(session: Session, name: str, key: str, caller_id: str, by: str) -> tuple[Conversation, list[StoredItem]]:
    """Hands a conversation over to the session `by`. Raises NotFound for one that is not theirs, or too long ago."""
    row = find(session, name, key)
    if row.caller_id != caller_id:
        raise _missing(name)
    if time.time() - row.seen_at > RESUME_SECONDS:
        raise NotFound(
            f"the call of conversation {name!r} ended more than {RESUME_SECONDS:.0f} s ago; begin a new one",
            code="resume_expired",
        )
    row.session = by
    return row, items_of(session, name)


def find(session: Session, name: str, key: str | None) -> Conversation:
    """One conversation of a key; None: of any. Raises NotFound."""
    row: Conversation | None = session.scalar(_of(key).where(Conversation.id == name))
    if row is None:
        raise _missing(name)
    return row


def conversations_of(
    session: Session, key: str | None, *, caller_id: str | None = None, after: str = "", limit: int = -1
) -> list[Conversation]:
    """Newest first, those older than the one named `after`, at most `limit`; -1: all. Raises NotFound."""
    wanted = _of(key).order_by(Conversation.number.desc()).limit(limit if limit >= 0 else None)
    if caller_id is not None:
        wanted = wanted.where(Conversation.caller_id == caller_id)
    if after:
        wanted = wanted.where(Conversation.number < find(session, after, key).number)
    return list(session.scalars(wanted))


def items_of(session: Session, name: str) -> list[StoredItem]:
    """In order."""
    return list(
        session.scalars(select(StoredItem).where(StoredItem.conversation == name).order_by(StoredItem.position))
    )


def audio_of(session: Session, name: str, item: str) -> tuple[Pcm16, int]:
    """PCM16 and its rate. Raises NotFound."""
    row = session.get(StoredAudio, (name, item))
    if row is None:
        raise NotFound(f"no audio is kept of item {item!r}")
    return row.pcm, row.rate


def remove(session: Session, names: Sequence[str]) -> None:
    """Deletes conversations with all that belongs to them."""
    for name in names:
        session.execute(delete(StoredAudio).where(StoredAudio.conversation == name))
        session.execute(delete(StoredItem).where(StoredItem.conversation == name))
        session.execute(delete(Conversation).where(Conversation.id == name))


def headed(session: Session, row: Conversation) -> Json:
    """A conversation as it is listed."""
    count = select(func.count()).select_from(StoredItem).where(StoredItem.conversation == row.id)
    return {
        "id": row.id, "object": "conversation", "created_at": row.created_at, "seen_at": int(row.seen_at),
        "caller": row.caller_id, "model": row.config.get("model"), "session": row.session,
        "item_count": session.scalar(count) or 0, "metadata": {},
    }  # fmt: skip


def exported(session: Session, row: Conversation) -> Json:
    """A conversation with all that was said."""
    kept = set(session.scalars(select(StoredAudio.item).where(StoredAudio.conversation == row.id)))
    items = [
        {**item.body, "at": item.at, "timings": item.timings, "audio_kept": item.id in kept}
        for item in items_of(session, row.id)
    ]
    return {**headed(session, row), "items": items}


def _of(key: str | None) -> Any:
    wanted = select(Conversation)
    return wanted if key is None else wanted.where(Conversation.key == key)


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no conversation {name!r}")
