"""`parley data import`: a corpus becomes a folder with manifest, audio and ledger, or nothing.

The audio is copied, so that the folder is whole by itself, and deleting a speaker from it deletes the recordings.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import itertools
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import soundfile
from tqdm import tqdm

from app.errors import BadAudio
from finetune.data import recording
from finetune.data.errors import DataError, ManifestError
from finetune.data.importers.found import Found
from finetune.data.ledger import NAME as LEDGER
from finetune.data.ledger import Ledger
from finetune.data.manifest import read_dialogues, write_manifest
from finetune.data.rows import Dialogue, Pronunciation, Utterance

SPEECH = {
    "common_voice": "Common Voice: train.tsv ... or validated.tsv, with clips/",
    "ljspeech": "metadata.csv and wavs/",
    "kaldi": "wav.scp, text, utt2spk, segments",
    "lhotse": "cuts, or recordings and supervisions, as JSONL",
    "huggingface": "save_to_disk or parquet",
    "folder": "recordings with .txt beside; folders are speakers",
    "recordings": "recordings without texts, for unpaired audio; folders are speakers",
    "shared": "a manifest.jsonl of many sources",
}
TEXT = {
    "dialogues": "JSONL, ShareGPT or OpenAI chat",
    "lexicon": "CMUdict, ipa-dict or wikipron",
}
AUDIO = "audio"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley data import`."""
    parser.epilog = "formats: " + "; ".join(f"{name} ({what})" for name, what in (SPEECH | TEXT).items())
    parser.add_argument("format", choices=[*SPEECH, *TEXT], metavar="FORMAT", help=", ".join(SPEECH | TEXT))
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or file of the corpus")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder of the dataset")
    parser.add_argument("--subset", default="", help="of a shared manifest, one subset")
    filled = parser.add_argument_group("what the corpus does not say itself")
    filled.add_argument("--language", default="", help="BCP 47 tag")
    filled.add_argument("--speaker", default="", help="label of the one speaker")
    filled.add_argument("--licence", default="", help="SPDX")
    filled.add_argument("--consent", default="", help="what the speakers agreed to, in words")


def run(args: argparse.Namespace) -> int:
    """Imports; raises DataError."""
    if args.format in TEXT:
        return _import_text(args)
    importer = importlib.import_module(f"finetune.data.importers.{args.format}")
    found = importer.rows(args.source, args.subset) if args.format == "shared" else importer.rows(args.source)
    given = {name: getattr(args, name) for name in ("language", "speaker", "licence", "consent")}
    rows = import_speech(found, args.out, given)
    hours = sum(row.duration_s for row in rows) / 3600
    speakers = len({row.speaker for row in rows})
    print(f"{len(rows)} utterances, {hours:.2f} h, {speakers} speakers: {args.out / 'manifest.jsonl'}")
    print(f"next: parley data check {args.out / 'manifest.jsonl'}")
    return 0


def import_speech(found: Iterable[Found], out: Path, given: dict[str, str]) -> list[Utterance]:
    """Copies audio into `out`/audio, writes `out`/manifest.jsonl and the ledger, and returns the rows.

    `given` fills what is empty in a row. Raises DataError: the manifest is only written where everything is there.
    """
    manifest = out / "manifest.jsonl"
    if manifest.exists():
        raise DataError(f"{manifest} exists already; choose another folder, or remove it")
    taken: dict[str, Path | bytes] = {}
    rows, faults = [], []
    for item in tqdm(found, desc="import", unit=" clips", disable=None):
        empty: dict[str, Any] = {name: value for name, value in given.items() if value and not getattr(item.row, name)}
        row = dataclasses.replace(item.row, **empty)
        for name in ("language", "speaker"):
            if not getattr(row, name):
                faults.append(f"{row.id}: no {name}; give it by --{name}")
        if isinstance(item.audio, Path) and not item.audio.is_file():
            faults.append(f"{row.id}: {item.audio} is not there")
        else:
            copy = _copy(item, out, taken)
            row = dataclasses.replace(row, audio=str(copy.relative_to(out)), duration_s=_seconds(row, copy))
        rows.append(row)
    if not rows:
        raise DataError("the corpus has no utterances")
    repeated = len(rows) - len({row.id for row in rows})
    if repeated:
        faults.append(f"{repeated} ids occur twice")
    if faults:
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise DataError(f"{len(faults)} faults, nothing is imported:\n  " + "\n  ".join(faults[:20]) + more)
    write_manifest(manifest, rows)
    Ledger(out / LEDGER).add_clips(rows, manifest.name)
    return rows


def _copy(item: Found, out: Path, taken: dict[str, Path | bytes]) -> Path:
    """The audio's place in `out`; several utterances may be parts of one file, and one that lies there stays there."""
    if isinstance(item.audio, Path) and item.audio.resolve().is_relative_to(out.resolve()):
        return out.resolve() / item.audio.resolve().relative_to(out.resolve()) if out.is_absolute() else item.audio
    name = PurePosixPath(item.row.audio)
    if name.is_absolute() or ".." in name.parts:
        raise ManifestError(f"row {item.row.id!r}: field audio: got {item.row.audio!r}, expected a name inside")
    copy = out / AUDIO / name
    if name.as_posix() in taken:
        if taken[name.as_posix()] != item.audio:
            raise ManifestError(f"row {item.row.id!r}: field audio: two recordings are named {name}")
        return copy
    taken[name.as_posix()] = item.audio
    copy.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(item.audio, bytes):
        copy.write_bytes(item.audio)
    else:
        shutil.copyfile(item.audio, copy)
    return copy


def _seconds(row: Utterance, copy: Path) -> float:
    """Duration of the utterance; 0 where the file cannot be read, which `parley data check` shows with all else."""
    try:
        end = row.end_s
        if end is None:
            end = _file_seconds(copy)
        return round(max(0.0, end - row.start_s), 3)
    except BadAudio:
        return 0.0


def _file_seconds(copy: Path) -> float:
    try:
        return float(soundfile.info(str(copy)).duration)
    except (soundfile.LibsndfileError, RuntimeError):
        return recording.decode(copy.read_bytes()).seconds


def _import_text(args: argparse.Namespace) -> int:
    from finetune.data.importers import dialogues, lexicon

    out = args.out / f"{args.format}.jsonl"
    if out.exists():
        raise DataError(f"{out} exists already; choose another folder, or remove it")
    if args.format == "dialogues":
        rows: Iterator[Dialogue | Pronunciation] = dialogues.rows(
            args.source, language=args.language, licence=args.licence, consent=args.consent
        )
    else:
        rows = lexicon.rows(args.source, language=args.language, licence=args.licence)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{args.source} has no rows to learn from: no entry, or no request with an answer")
    count = write_manifest(out, tqdm(itertools.chain([first], rows), desc="import", unit=" rows", disable=None))
    if args.format == "dialogues":
        Ledger(args.out / LEDGER).add_clips(read_dialogues(out), out.name)
    print(f"{count} rows: {out}")
    return 0
