"""API keys and client secrets in a database: made, listed, revoked, found. Knows no request; counts nothing.

Only SHA-256 digests are kept. A slow hash is for what people can remember: these keys are 256 random bits, of which
nobody tries enough.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import JSON, BigInteger, String, Text, bindparam, delete, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.callers import SECRET_PREFIX, Caller, Grant, Scope
from app.database import Database
from app.errors import AccessDenied, NotFound
from app.server_events import new_id

KEY_PREFIX = "sk-parley-"
NOTED_SECONDS = 60  # between notes of when a key was used


class Base(DeclarativeBase):
    """Tables of access."""


class ApiKey(Base):
    """One key; revoked ones stay, so that a service whose keys are all revoked is not open to everybody."""

    __tablename__ = "api_keys"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    sessions: Mapped[int | None]
    """At once; None here and below: no limit."""
    requests_per_minute: Mapped[int | None]
    audio_minutes_per_day: Mapped[int | None]


class ClientSecret(Base):
    """One ephemeral key, for the clients of whoever holds a key."""

    __tablename__ = "client_secrets"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(64))
    """Whose it is: what is done with it counts as that key's."""
    expires_at: Mapped[int] = mapped_column(BigInteger)
    grant: Mapped[dict[str, object]] = mapped_column(JSON)


_FIND = select(ApiKey).where(ApiKey.digest == bindparam("digest"))


def access_database(place: str) -> Database:
    """Where keys, client secrets and counts are: an SQLite file or a URL."""
    import app.limits  # noqa: F401  # whose tables are of it, and which itself needs this module

    return Database(place, Base.metadata, of="API keys", synchronous="NORMAL")


def digest(key: str) -> str:
    """What is kept of a key: SHA-256, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def create(
    session: Session,
    name: str,
    scopes: Collection[Scope],
    *,
    sessions: int | None = None,
    requests_per_minute: int | None = None,
    audio_minutes_per_day: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key, and the key itself, which is not kept and cannot be shown again."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(
        id=new_id("key"), name=name, digest=digest(key), scopes=sorted(scopes), created_at=int(time.time()),
        sessions=sessions, requests_per_minute=requests_per_minute, audio_minutes_per_day=audio_minutes_per_day,
    )  # fmt: skip
    session.add(row)
    return row, key


def keys_of(session: Session) -> list[ApiKey]:
    """All, oldest first."""
    return list(session.scalars(select(ApiKey).order_by(ApiKey.number)))


def revoke(session: Session, key_id: str) -> ApiKey:
    """Ends a key, and with it the client secrets made by it. Raises NotFound."""
    row = session.scalar(select(ApiKey).where(ApiKey.id == key_id))
    if row is None:
        raise NotFound(f"there is no key {key_id!r}")
    row.revoked_at = row.revoked_at or int(time.time())
    session.execute(delete(ClientSecret).where(ClientSecret.key == key_id))
    return row


def scopes_made(session: Session) -> frozenset[str]:
    """Scopes for which there has ever been a key."""
    return frozenset(scope for scopes in session.scalars(select(ApiKey.scopes)) for scope in scopes)


def any_made_for(scope: Scope, place: str) -> bool:
    """Whether a database, which need not be there yet, has ever had a key of that scope. Raises DatabaseUnavailable."""
    database = access_database(place)
    if not database.begun:
        return False
    with contextlib.closing(database), database.session() as session:
        return scope in scopes_made(session)


def find(session: Session, key: str) -> tuple[Caller, ApiKey | None] | None:
    """Whom a key or client secret stands for, and the key's row where it has one; None where it is unknown.

    Raises AccessDenied for a revoked one.
    """
    if key.startswith(SECRET_PREFIX):
        return _find_secret(session, key)
    row = session.scalar(_FIND, {"digest": digest(key)})
    return None if row is None else (_caller(row), row)


def note_use(session: Session, key: ApiKey) -> None:
    """For whoever looks at the list; written once a minute, since most requests need not write."""
    now = int(time.time())
    if key.used_at is None or key.used_at < now - NOTED_SECONDS:
        key.used_at = now


def lock(session: Session, key_id: str) -> None:
    """Until the transaction ends, whoever else locks this key waits, on any database."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=int(time.time())))


def touch(session: Session, key_id: str) -> ApiKey:
    """The key's row, locked. Raises AccessDenied where it has been revoked."""
    lock(session, key_id)
    found = select(ApiKey).where(ApiKey.id == key_id).execution_options(populate_existing=True)
    row = session.scalar(found)
    if row is None or row.revoked_at is not None:
        raise AccessDenied("This API key has been revoked")
    return row


def make_secret(session: Session, key_id: str, grant: Grant, expires_at: int) -> str:
    """A new client secret; those that have expired go."""
    session.execute(delete(ClientSecret).where(ClientSecret.expires_at < int(time.time())))
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    kept = {"session": dict(grant.session), "caller_id": grant.caller_id, "keep_audio": grant.keep_audio}
    session.add(ClientSecret(digest=digest(secret), key=key_id, expires_at=expires_at, grant=kept))
    return secret


def _find_secret(session: Session, secret: str) -> tuple[Caller, ApiKey | None] | None:
    row = session.get(ClientSecret, digest(secret))
    if row is None or row.expires_at <= time.time():
        return None
    grant = Grant(**row.grant)  # type: ignore[arg-type]
    maker = session.scalar(select(ApiKey).where(ApiKey.id == row.key))
    if maker is None:  # made by a key of the settings, or where none is asked for
        return Caller(row.key, frozenset({"caller"}), grant=grant), None
    return replace(_caller(maker), grant=grant), maker


def _caller(row: ApiKey) -> Caller:
    if row.revoked_at is not None:
        raise AccessDenied("This API key has been revoked")
    scopes: frozenset[Scope] = frozenset(row.scopes)  # type: ignore[arg-type]
    return Caller(row.id, scopes, counted=True)
