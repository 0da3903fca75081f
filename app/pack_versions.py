"""Versions of packs on disk: which is current, promotion, rollback, removal, and the history of all three.

`app/packs.py` says how versions lie. Beside them, NAME.history.jsonl has a line for each change of NAME. A running
service looks at the folder for each new session, so nothing needs to be told to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.cards import failed_gates, read_card, write_card, write_section, write_whole
from app.errors import GateMissed, PackError, UnknownModel
from app.packs import CURRENT, MANIFEST, Pack, find_pack, read_pack

HISTORY = ".history.jsonl"
BUILDING = ".building"
"""Folder below the packs' own where a pack lies that is not whole, or is going; nobody looks for packs in it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a history."""

    when: str
    """UTC, ISO 8601."""
    action: str
    """promote, rollback or remove."""
    before: str
    """Version that was current; empty: none."""
    after: str
    """Version that is current since then; empty: none. The version that went, for remove."""
    words: str = ""
    """Why gates were overridden."""


def current(root: Path, name: str) -> Pack | None:
    """The version that NAME, or NAME@VERSION, means; None where there is none. Raises PackError."""
    try:
        return find_pack(root, name)
    except UnknownModel:
        return None


def versions(root: Path, name: str) -> list[Pack]:
    """All versions of NAME, in the order of their folders. Raises PackError."""
    folders = [root / name, *sorted(root.glob(f"{name}@*"))]
    return [read_pack(folder) for folder in folders if (folder / MANIFEST).is_file()]


def history(root: Path, name: str) -> list[Change]:
    """Every change of NAME, oldest first. Raises PackError."""
    path = root / f"{name}{HISTORY}"
    if not path.is_file():
        return []
    try:
        return [Change(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (ValueError, TypeError) as error:
        raise PackError(f"{path} is no history: {error}") from error


def earlier(root: Path, name: str) -> Pack | None:
    """The version that a rollback of NAME would make current; None where it would be refused. Raises PackError."""
    version = _earlier(root, name)
    return current(root, f"{name}@{version}") if version else None


def promote(root: Path, reference: str, *, force: str = "") -> Change:
    """Makes NAME@VERSION what NAME means, for sessions that begin from now on.

    `force` are the words of whoever overrides failed gates; card and history keep them. Raises GateMissed naming each
    gate, UnknownModel, PackError.
    """
    with _alone(root):
        pack = _exact(root, reference)
        now = current(root, pack.name)
        before = now.version if now else ""
        if before == pack.version:
            raise PackError(f"{pack.reference} is current already")
        failed = failed_gates(pack)
        if failed and not force.strip():
            raise GateMissed(
                f"{pack.reference} is not promoted: {'; '.join(failed)}. --force WORDS does it all the same"
            )
        change = Change(_now(), "promote", before, pack.version, force.strip() if failed else "")
        if failed:
            _keep_words(pack, change, failed)
        _record(root, pack.name, change)
        write_whole(root / f"{pack.name}{CURRENT}", f"{pack.version}\n")
        return change


def rollback(root: Path, name: str) -> Change:
    """Takes back the last promotion of NAME that has not been taken back. Raises PackError where there is none."""
    with _alone(root):
        now = current(root, name)
        version = _earlier(root, name)
        if not version:
            raise PackError(f"there is nothing to roll {name} back to: no earlier version of it was current")
        back = find_pack(root, f"{name}@{version}")
        change = Change(_now(), "rollback", now.version if now else "", back.version)
        _record(root, name, change)
        write_whole(root / f"{name}{CURRENT}", f"{back.version}\n")
        return change


def remove(root: Path, reference: str, *, last: bool = False) -> Change:
    """Deletes NAME@VERSION. Raises PackError for the current one; with `last`, not where it is the only one left."""
    with _alone(root):
        pack = _exact(root, reference)
        now = current(root, pack.name)
        is_current = now is not None and now.version == pack.version
        if is_current and len(versions(root, pack.name)) > 1:
            raise PackError(f"{pack.reference} is current, so sessions ask for it; promote another version first")
        if is_current and not last:
            raise PackError(
                f"{pack.reference} is the only version of {pack.name}: a service that answers with it would refuse "
                f"calls from now on; --last deletes it all the same"
            )
        change = Change(_now(), "remove", now.version if now else "", pack.version)
        _record(root, pack.name, change)
        if is_current:
            (root / f"{pack.name}{CURRENT}").unlink(missing_ok=True)
        going = root / BUILDING / f"{pack.reference}.{os.getpid()}"
        going.parent.mkdir(exist_ok=True)
        pack.folder.replace(going)  # gone for everybody at once; deleting takes a while
        shutil.rmtree(going)
        return change


def _earlier(root: Path, name: str) -> str:
    """The version before the last promotion that has not been taken back; empty: none."""
    promoted: list[str] = []  # what was current before each promotion that still holds
    for change in history(root, name):
        if change.action == "promote":
            promoted.append(change.before)
        elif change.action == "rollback" and promoted:
            promoted.pop()
    return promoted[-1] if promoted else ""


def _exact(root: Path, reference: str) -> Pack:
    name, _, version = reference.partition("@")
    if not version:
        known = ", ".join(pack.reference for pack in versions(root, name)) or "none"
        raise PackError(f"which version of {name!r}? Expected NAME@VERSION; there are: {known}")
    return find_pack(root, reference)


def _keep_words(pack: Pack, change: Change, failed: list[str]) -> None:
    """Into the card, which travels with the pack: that it was promoted against its gates, and why."""
    card = read_card(pack)
    card["forced"] = [*card.get("forced", []), {"when": change.when, "words": change.words, "failed": failed}]
    write_card(pack.folder, card)
    lines = ["## Promoted against its gates", ""]
    for forced in card["forced"]:
        lines += [f"- {forced['when']}: {forced['words']}", *(f"  - {line}" for line in forced["failed"])]
    write_section(pack.folder, "forced", [*lines, ""])


def _record(root: Path, name: str, change: Change) -> None:
    with (root / f"{name}{HISTORY}").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(change), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One change of a folder of packs at a time, among all processes."""
    if not root.is_dir():
        raise PackError(f"{root} is no folder of packs")
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
