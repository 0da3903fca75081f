"""`parley keys`: API keys in the database of a service, which may run meanwhile. Knows no process of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.callers import SCOPES
from app.config import settings_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NO_KEYS = "no keys; `parley keys create NAME` makes one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley keys`."""
    parser.add_argument(
        "--key-database",
        metavar="PLACE",
        help="SQLite file or SQLAlchemy URL [PARLEY_KEY_DATABASE, runs/access.sqlite]",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="makes a key, and shows it this once")
    create.add_argument("name", help="whose it is, for the list")
    create.add_argument("--scope", action="append", choices=SCOPES, help="caller or operator; again for both [caller]")
    create.add_argument("--sessions", type=_some, metavar="N", help="realtime sessions at once [any number]")
    create.add_argument("--requests-per-minute", type=_some, metavar="N", help="[any number]")
    create.add_argument("--audio-minutes-per-day", type=_some, metavar="N", help="heard and spoken [any number]")
    actions.add_parser("list", help="all keys, with what they may and what they have used")
    actions.add_parser("revoke", help="ends a key at once").add_argument("key", metavar="ID")


def run(args: argparse.Namespace) -> int:
    """Does it. Raises ParleyError."""
    from app import keys  # with SQLAlchemy, which other commands do without

    database = keys.access_database(settings_of(argparse.Namespace(key_database=args.key_database)).key_database)
    if args.action == "list" and not database.begun:
        print(NO_KEYS)
        return 0
    with database.session() as session:
        if args.action == "create":
            row, key = keys.create(
                session, args.name, args.scope or ["caller"], sessions=args.sessions,
                requests_per_minute=args.requests_per_minute, audio_minutes_per_day=args.audio_minutes_per_day,
            )  # fmt: skip
            print(f"{row.id} ({row.name}) is made; it is shown this once:", file=sys.stderr)
            print(key)
        elif args.action == "revoke":
            row = keys.revoke(session, args.key)
            print(f"{row.id} ({row.name}) is revoked")
        else:
            print("\n".join(_lines(session)) or NO_KEYS)
    database.close()
    return 0


def _lines(session: Session) -> Iterator[str]:
    from app import keys, limits

    for row in keys.keys_of(session):
        used = limits.audio_today(session, row) / 60
        may = {"sessions": row.sessions, "requests/min": row.requests_per_minute}
        parts = [f"{most} {what}" for what, most in may.items() if most is not None]
        of = f" of {row.audio_minutes_per_day}" if row.audio_minutes_per_day is not None else ""
        parts.append(f"{used:.1f}{of} min of audio today")
        state = f"revoked {_date(row.revoked_at)}" if row.revoked_at else f"used {_date(row.used_at)}"
        scopes = "+".join(row.scopes)
        yield f"{row.id}  {row.name:<16}  {scopes:<15}  made {_date(row.created_at)}  {state}  {', '.join(parts)}"


def _date(at: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(at)) if at else "never"


def _some(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return number
