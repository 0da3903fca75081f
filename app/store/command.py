"""`parley conversations`: what a service keeps, for its operator, straight from the database."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.config import settings_of
from app.errors import BadRequest, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley conversations`."""
    parser.add_argument("--store", metavar="PLACE", help="SQLite file or SQLAlchemy URL [PARLEY_STORE]")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="newest first").add_argument("--caller", metavar="ID", help="of one caller alone")
    export = actions.add_parser("export", help="as JSON lines; into a folder, with their audio")
    export.add_argument("--out", type=Path, metavar="FOLDER", help="one JSON file a conversation, and its audio")
    delete = actions.add_parser("delete", help="deletes for good; running calls are not kept on")
    for action in (export, delete):
        action.add_argument("conversation", nargs="*", metavar="ID")
        action.add_argument("--caller", metavar="ID", help="all of one caller")
        action.add_argument("--before", metavar="YYYY-MM-DD", help="all that ended before this day (UTC)")


def run(args: argparse.Namespace) -> int:
    """Does it. Raises ParleyError."""
    from app.store import store  # with SQLAlchemy, which other commands do without

    place = settings_of(argparse.Namespace(store=args.store)).store
    if not place:
        raise SettingsError("where conversations are kept is not said: PARLEY_STORE, or --store before the action")
    with contextlib.closing(store.conversations_database(place)) as database:
        if not database.begun:
            raise SettingsError(f"there is no {place}: nothing has been kept")
        with database.session() as session:
            if args.action == "list":
                rows = store.conversations_of(session, None, caller_id=args.caller)
                print("\n".join(_line(store.headed(session, row)) for row in rows) or "no conversations")
                return 0
            names = _chosen(session, args)
            if args.action == "export":
                _export(session, names, args.out)
            else:
                store.remove(session, names)
        if args.action == "delete":
            database.forget()
            print(f"{len(names)} deleted")
    return 0


def _chosen(session: Session, args: argparse.Namespace) -> list[str]:
    """Ids. Raises BadRequest where nothing is chosen: all of them are only meant by who says so."""
    from app.store import store

    if args.conversation:
        return [store.find(session, name, None).id for name in args.conversation]
    if args.caller is None and args.before is None:
        raise BadRequest("which conversations? Expected their ids, --caller or --before")
    ended = float("inf")
    if args.before is not None:
        try:
            ended = datetime.fromisoformat(args.before).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise BadRequest(f"--before: got {args.before!r}, expected YYYY-MM-DD") from None
    rows = store.conversations_of(session, None, caller_id=args.caller)
    return [row.id for row in rows if row.seen_at < ended]


def _export(session: Session, names: Sequence[str], out: Path | None) -> None:
    from app.store import store
    from app.store.audio_files import wav

    for name in names:
        found = store.exported(session, store.find(session, name, None))
        if out is None:
            print(json.dumps(found, ensure_ascii=False))
            continue
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
        for number, item in enumerate(found["items"], 1):
            if item["audio_kept"]:
                (out / f"{name}.{number}.{item['role']}.wav").write_bytes(
                    wav(*store.audio_of(session, name, item["id"]))
                )
    if out is not None:
        print(f"{len(names)} in {out}")


def _line(head: dict[str, Any]) -> str:
    began = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(head["created_at"]))
    seconds = head["seen_at"] - head["created_at"]
    return f"{head['id']}  {began}  {seconds:>5} s  {head['item_count']:>4} items  {head['model']}  {head['caller']}"
