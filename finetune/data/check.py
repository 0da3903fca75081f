"""`parley data check`: every fault of a manifest at once, as lines, JSON and a page to look and listen.

Knows no fault by itself (`faults.py`), and decodes nothing twice: it can be interrupted and goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from finetune.data import check_texts, hearing, recording
from finetune.data.augment import effects
from finetune.data.augmenting import noise_files
from finetune.data.errors import DataError
from finetune.data.faults import Fault, counted, find
from finetune.data.manifest import audio_path, fingerprint, kind_of, read_utterances
from finetune.data.measured import Measurement, measured
from finetune.data.page import Player, page, player
from finetune.data.plots import plots
from finetune.data.rows import Utterance
from finetune.data.spelling import Speller, spellers_of_pack, tokenizer, voice

PLAYED = 3
"""Clips of each kind of fault on the page."""
SUSPECTS_PLAYED = 20
SAMPLES_PLAYED = 6
"""Clips without a fault, for comparison."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley data check`."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="of utterances, dialogues or pronunciations")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the page and the JSON [check, beside MANIFEST]")
    parser.add_argument("--pack", type=Path, help="a pack's folder: whether its three stages can spell the texts")
    parser.add_argument("--recognizer", type=Path, metavar="FOLDER", help="a Whisper with tokenizer.json, likewise")
    parser.add_argument("--language-model", type=Path, metavar="FOLDER", help="a chat model, likewise")
    parser.add_argument("--voice", type=Path, metavar="FOLDER", help="a VITS, MMS or XTTS voice, likewise")
    parser.add_argument(
        "--listen", choices=("whisper", "pocketsphinx"), help="let --pack's recognizer, or one of English, hear it all"
    )
    parser.add_argument("--noise", type=Path, metavar="FOLDER", help="noise for the augmentation that the page plays")


def run(args: argparse.Namespace) -> int:
    """Writes page and JSON; 1 where there is a fault that is no warning. Raises DataError, PackError."""
    if (kind := kind_of(args.manifest)) != "utterances":
        return check_texts.check(args, _spellers(args), dialogues=kind == "dialogues")
    # 1. What is written, and what was recorded
    rows = list(read_utterances(args.manifest))
    paths = [audio_path(args.manifest, row) for row in rows]
    measurements = list(measured(paths, rows, args.manifest.parent))
    # 2. What a base recognizer hears
    heard, disagreement = _listened(args, rows, paths, measurements)
    # 3. Faults
    found = find(rows, measurements, _spellers(args), disagreement)
    counts = counted(found)
    # 4. JSON and page
    out = args.out or args.manifest.parent / "check"
    out.mkdir(parents=True, exist_ok=True)
    report = {
        "manifest": args.manifest.name,
        "fingerprint": fingerprint(args.manifest),
        "utterances": len(rows),
        "seconds": round(sum(sound.seconds for sound in measurements), 1),
        "faults": sum(not fault.is_warning for fault in found),
        "warnings": sum(fault.is_warning for fault in found),
        "found": [asdict(fault) for fault in found],
        "heard": {row.id: [text, round(wrong, 3)] for row, text, wrong in zip(rows, heard, disagreement, strict=False)},
    }
    (out / "check.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    facts = {
        "utterances": str(len(rows)),
        "hours": f"{report['seconds'] / 3600:.2f}",
        "speakers": str(len({row.speaker for row in rows})),
        "languages": ", ".join(sorted({row.language for row in rows})),
        "licences": ", ".join(sorted({row.licence or "(not stated)" for row in rows})),
        "fingerprint": str(report["fingerprint"]),
    }
    groups = _players(rows, paths, measurements, found, dict(zip((row.id for row in rows), heard, strict=False)))
    groups["Augmentation, before and after"] = _augmented(rows, paths, measurements, noise_files(args.noise))
    html = page(f"Check of {args.manifest.name}", facts, plots(rows, measurements), counts, groups)
    (out / "check.html").write_text(html, encoding="utf-8")
    # 5. Lines
    check_texts.told(found, f"{len(rows)} utterances", out)
    return 1 if report["faults"] else 0


def _spellers(args: argparse.Namespace) -> list[Speller]:
    found = spellers_of_pack(args.pack) if args.pack else []
    found += [tokenizer("recognizer", args.recognizer)] if args.recognizer else []
    found += [tokenizer("language", args.language_model)] if args.language_model else []
    return found + ([voice(args.voice)] if args.voice else [])


def _listened(
    args: argparse.Namespace, rows: Sequence[Utterance], paths: Sequence[Path], measurements: Sequence[Measurement]
) -> tuple[list[str], list[float]]:
    """What was heard, and how much of each text otherwise; nothing where nobody was asked to listen."""
    if not args.listen:
        return [], []
    if args.pack is None:
        raise DataError(f"--listen {args.listen} needs --pack, whose recognizer or settings it takes")
    name = args.listen if args.listen == "pocketsphinx" else args.pack.resolve().name
    cache = args.manifest.parent / f".heard-{name}.jsonl"
    texts = hearing.heard(paths, rows, measurements, hearing.load(args.pack, args.listen), cache)
    return texts, [hearing.disagreement(row.text, text) for row, text in zip(rows, texts, strict=True)]


def _players(
    rows: Sequence[Utterance],
    paths: Sequence[Path],
    measurements: Sequence[Measurement],
    found: Sequence[Fault],
    heard: dict[str, str],
) -> dict[str, list[Player]]:
    """Clips of each kind of fault that can be heard, worst labels first, and some without."""
    places = {row.id: i for i, row in enumerate(rows)}
    groups: defaultdict[str, list[Player]] = defaultdict(list)
    for fault in found:
        limit = SUSPECTS_PLAYED if fault.kind == "suspected label" else PLAYED
        i = places.get(fault.id)
        if i is None or measurements[i].fault or "missing" in fault.kind or len(groups[fault.kind]) >= limit:
            continue
        note = f"“{rows[i].text}” · {fault.message}"
        note += f" · heard: “{heard[fault.id]}”" if fault.id in heard else ""
        groups[fault.kind].append(_clip(rows[i], paths[i], note))
    good = _good(rows, measurements, found)
    groups["without a fault"] = [_clip(rows[i], paths[i], f"“{rows[i].text}”") for i in good[:SAMPLES_PLAYED]]
    return {kind: players for kind, players in groups.items() if players}


def _augmented(
    rows: Sequence[Utterance], paths: Sequence[Path], measurements: Sequence[Measurement], noises: tuple[Path, ...]
) -> list[Player]:
    """One clip as it is, and after each effect alone."""
    i = next(iter(_good(rows, measurements, ())), None)
    if i is None:
        return []
    heard = recording.decode(paths[i].read_bytes(), rows[i].start_s, rows[i].end_s)
    made = {name: effect(heard.waveform, heard.rate) for name, effect in effects(noises).items()}
    return [
        player(rows[i].id, name, waveform, heard.rate)
        for name, waveform in {"as it is": heard.waveform, **made}.items()
    ]


def _good(rows: Sequence[Utterance], measurements: Sequence[Measurement], found: Sequence[Fault]) -> list[int]:
    """Readable rows without a fault that can be heard, in seeded random order."""
    bad = {fault.id for fault in found if "missing" not in fault.kind}
    good = [i for i, row in enumerate(rows) if row.id not in bad and not measurements[i].fault]
    random.Random(0).shuffle(good)
    return good


def _clip(row: Utterance, path: Path, note: str) -> Player:
    heard = recording.decode(path.read_bytes(), row.start_s, row.end_s)
    return player(row.id, note, heard.waveform, heard.rate)
