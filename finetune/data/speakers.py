"""`parley data speakers`: whose voice is in a dataset and in what was made of it; forgets a speaker.

Forgetting removes rows and recordings from every manifest of the folder, and all that was derived of them there:
measurements, transcripts and check pages, which hold clips. A model cannot forget: packs are named to be retrained.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.cards import read_card
from app.config import settings_of
from app.packs import list_packs
from finetune.data.errors import DataError
from finetune.data.ledger import NAME as LEDGER
from finetune.data.ledger import Ledger, Speaker
from finetune.data.manifest import audio_path, json_lines, read_dialogues, read_utterances, write_manifest
from finetune.data.rows import Dialogue, Utterance, speakers_of

CHECK = "check"
"""Folder of check pages within a dataset."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley data speakers`."""
    parser.add_argument("--packs", metavar="FOLDER", help="where packs made of runs are [PARLEY_PACKS, models/packs]")
    actions = parser.add_subparsers(dest="what", required=True, metavar="list|forget")
    listing = actions.add_parser("list", help="clips, consent, runs and packs of each speaker")
    listing.add_argument("folder", type=Path, metavar="FOLDER", help="of the dataset")
    forget = actions.add_parser("forget", help="removes a speaker's rows and recordings; says which packs to retrain")
    forget.add_argument("speaker", metavar="SPEAKER")
    forget.add_argument("folder", type=Path, metavar="FOLDER", help="of the dataset")


def run(args: argparse.Namespace) -> int:
    """Lists or forgets; raises DataError."""
    note_packs(Ledger(args.folder / LEDGER), Path(settings_of(argparse.Namespace(packs=args.packs)).packs))
    if args.what == "list":
        found = Ledger(args.folder / LEDGER).speakers()
        if not found:
            raise DataError(f"{args.folder} has no {LEDGER} with speakers; parley data import makes one")
        for speaker in found.values():
            print(_line(speaker))
        return 0
    speaker = forget(args.folder, args.speaker)
    print(f"{args.speaker}: {len(speaker.forgotten)} clips are gone from {args.folder}")
    if speaker.packs:
        print(f"learnt from them, and must be retrained: {', '.join(speaker.packs)}")
    elif speaker.runs:
        print(f"runs learnt from them, and must not become packs: {', '.join(speaker.runs)}")
    else:
        print("no run has learnt from them")
    return 0


def note_packs(ledger: Ledger, packs: Path) -> None:
    """Into the ledger: packs whose cards say that they were built of the ledger's runs, or of packs that were.

    Raises PackError.
    """
    people = ledger.speakers().values()
    runs, known = {run for one in people for run in one.runs}, {pack for one in people for pack in one.packs}
    for pack in list_packs(packs):
        training = read_card(pack).get("training", {})
        made_of = {
            run for facts in training.values() for run in (facts.get("fingerprint"), *facts.get("ancestors", ()))
        }
        made_of &= runs
        if made_of and pack.reference not in known:
            ledger.add_pack(pack.reference, sorted(made_of))


def forget(folder: Path, label: str) -> Speaker:
    """Removes a speaker; killed half-way, it can be done again. Raises DataError for an unknown label."""
    ledger = Ledger(folder / LEDGER)
    own: dict[Path, set[str]] = {}
    audio: set[Path] = set()
    shared: set[Path] = set()
    for manifest in _manifests(folder):
        for row in _read(manifest):
            is_own = label in speakers_of(row)
            if is_own:
                own.setdefault(manifest, set()).add(row.id)
            if isinstance(row, Utterance):
                (audio if is_own else shared).add(audio_path(manifest, row).resolve())
    if not own and label not in ledger.speakers():
        raise DataError(f"{folder} has no speaker {label!r}; parley data speakers list names them")
    both = audio & shared
    if both:
        raise DataError(f"{min(both)} has others' speech too: cut it first; nothing is removed")
    for path in audio:  # recordings first: once the rows are gone, nobody would find them again
        path.unlink(missing_ok=True)
    for manifest in own:
        write_manifest(manifest, [row for row in _read(manifest) if label not in speakers_of(row)])
        for derived in manifest.parent.glob(".*.jsonl"):
            derived.unlink()
        shutil.rmtree(manifest.parent / CHECK, ignore_errors=True)
    clips = {clip for ids in own.values() for clip in ids}
    if clips:
        ledger.forget(label, clips)
    return ledger.speakers()[label]


def _manifests(folder: Path) -> Iterator[Path]:
    """Manifests of utterances or dialogues below a folder, told by their first row, wherever a split or copy is."""
    for path in sorted(folder.rglob("*.jsonl")):
        if not path.name.startswith(".") and path.name != LEDGER and _first(path).keys() & {"audio", "turns"}:
            yield path


def _read(manifest: Path) -> Iterator[Utterance | Dialogue]:
    return read_utterances(manifest) if "audio" in _first(manifest) else read_dialogues(manifest)


def _first(path: Path) -> Mapping[str, object]:
    """The first row, empty where there is none; a manifest that forgetting has emptied is left as it is."""
    record: object = next(json_lines(path), (0, {}))[1]
    return record if isinstance(record, dict) else {}


def _line(speaker: Speaker) -> str:
    consent = "; ".join(one or "not stated" for one in speaker.consent)
    gone = f", {len(speaker.forgotten)} forgotten" if speaker.forgotten else ""
    packs = f", packs {', '.join(speaker.packs)}" if speaker.packs else ""
    return f"{speaker.label}: {len(speaker.clips)} clips{gone}, consent: {consent}, {len(speaker.runs)} runs{packs}"
