"""`parley packs list|show|build|promote|rollback|remove`: an operator's hand on the language packs of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from app import pack_build, pack_versions
from app.cards import read_card, said
from app.config import settings_of
from app.errors import PackError
from app.pack_versions import Change
from app.packs import MANIFEST, Pack, find_pack, list_packs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley packs`."""
    parser.add_argument("--packs", metavar="FOLDER", help="folder of language packs [PARLEY_PACKS, models/packs]")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="all packs in all versions; * is current")
    show = actions.add_parser("show", help="one pack: settings, figures of its card, history")
    show.add_argument("pack", metavar="NAME[@VERSION]")
    build = actions.add_parser("build", help="a new version of a pack, from weights that training has exported")
    build.add_argument("pack", metavar="NAME@VERSION")
    build.add_argument(
        "--like",
        required=True,
        metavar="PACK",
        help="pack that settings and all other weights come from, or a pack.toml",
    )
    for stage in pack_build.STAGES:
        build.add_argument(f"--{stage}", type=Path, metavar="FOLDER", help="weights, or a run folder with export/")
    promote = actions.add_parser("promote", help="makes a version current, for sessions that begin from now on")
    promote.add_argument("pack", metavar="NAME@VERSION")
    promote.add_argument(
        "--force", default="", metavar="WORDS", help="why failed gates do not count; the card keeps it"
    )
    rollback = actions.add_parser("rollback", help="back to the version that was current before")
    rollback.add_argument("pack", metavar="NAME")
    remove = actions.add_parser("remove", help="deletes a version that is not current")
    remove.add_argument("pack", metavar="NAME@VERSION")
    remove.add_argument("--last", action="store_true", help="even if no other version of it is left")


def run(args: argparse.Namespace) -> int:
    """Does it; raises ParleyError."""
    root = Path(settings_of(argparse.Namespace(packs=args.packs)).packs)
    match args.action:
        case "list":
            print(listing(root))
        case "show":
            print(shown(root, find_pack(root, args.pack)))
        case "build":
            weights = {stage: folder for stage in pack_build.STAGES if (folder := getattr(args, stage)) is not None}
            pack = pack_build.build(root, args.pack, settings=_settings(root, args.like), weights=weights)
            print(f"{pack.folder} is built; evaluate it, then: parley packs promote {pack.reference}")
        case "promote":
            change = pack_versions.promote(root, args.pack, force=args.force)
            print(f"{args.pack} is current, {_before(change)}; running sessions keep the version they began with")
        case "rollback":
            change = pack_versions.rollback(root, args.pack)
            print(f"{args.pack}@{change.after} is current again, instead of {change.before}")
        case "remove":
            pack_versions.remove(root, args.pack, last=args.last)
            print(f"{args.pack} is deleted")
    return 0


def listing(root: Path) -> str:
    """A line a version. Raises PackError."""
    if not root.is_dir():
        raise PackError(f"{root} is no folder of packs; choose one with --packs before the action, or PARLEY_PACKS")
    packs = list_packs(root)
    if not packs:
        return f"no language packs in {root}; the one that ships is in models/packs"
    width = max(len(pack.reference) for pack in packs)
    lines = []
    for pack in packs:
        now = pack_versions.current(root, pack.name)
        mark = "*" if now is not None and now.version == pack.version else " "
        size = sum(path.stat().st_size for path in pack.folder.rglob("*") if path.is_file()) / 1e6
        lines.append(f"{mark} {pack.reference:<{width}}  {pack.language:<7} {size:8.1f} MB  {_gates(pack)}")
    return "\n".join(lines)


def shown(root: Path, pack: Pack) -> str:
    """Everything about one version."""
    now = pack_versions.current(root, pack.name)
    state = "current" if now is not None and now.version == pack.version else "not current"
    lines = [f"{pack.reference} ({pack.language}, {state}) in {pack.folder}", pack.description, ""]
    card = read_card(pack)
    lines += [f"  {row['part']}, {row['metric']}: {said(row)}" for row in card["evaluation"]]
    lines += [] if card["evaluation"] else ["  never evaluated (parley evaluate)"]
    for forced in card.get("forced", []):
        lines.append(f"  promoted against its gates on {forced['when']}: {forced['words']}")
    if changes := pack_versions.history(root, pack.name):
        lines += ["", *(f"  {_told(pack.name, change)}" for change in changes)]
    return "\n".join(lines)


def _told(name: str, change: Change) -> str:
    words = f": {change.words}" if change.words else ""
    return f"{change.when}  {change.action} {name}@{change.after}, {_before(change)}{words}"


def _before(change: Change) -> str:
    return f"before it {change.before}" if change.before else "the first one"


def _gates(pack: Pack) -> str:
    card = read_card(pack)
    rows = card["evaluation"]
    gated = [row for row in rows if row["passed"] is not None]
    if not rows:
        return "never evaluated"
    missed = [f"{row['part']} {row['metric']}" for row in gated if not row["passed"]]
    words = f"{len(gated) - len(missed)} of {len(gated)} gates met"
    if missed:
        words += f", missed: {', '.join(missed)}"
    if card["not_measured"]:
        words += f", not evaluated: {', '.join(card['not_measured'])}"
    return words


def _settings(root: Path, like: str) -> Path:
    """The folder of a pack by name, or a path."""
    path = Path(like)
    if path.suffix == ".toml" or (path / MANIFEST).is_file():
        if not path.exists():
            raise PackError(f"{path} is not there: expected a pack, or a {MANIFEST}")
        return path
    return find_pack(root, like).folder
