"""`parley evaluate PACK --data MANIFEST`: the exported workers of a pack, stage by stage and as a cascade.

Found by the service's command line as an entry point, so that it need not know of training. Writes report.json,
report.html and the pack's card; what is measured is kept clip by clip, so that work which was interrupted goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.cards import said
from app.config import settings_of
from app.packs import MANIFEST, Pack, find_pack, read_pack
from app.workers import connect
from finetune.data import recording
from finetune.data.kept import Kept
from finetune.data.manifest import fingerprint
from finetune.data.page import Player, player
from finetune.evaluate import cases
from finetune.evaluate.card import add_to_card
from finetune.evaluate.figures import figures, round_trip, scores
from finetune.evaluate.judge import Given, ctc_judge, pack_judge
from finetune.evaluate.measure import Measured, measure
from finetune.evaluate.page import page
from finetune.evaluate.speaking import close, speech
from finetune.exit_status import SAME, exit_status

PLAYERS = 12


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, 1 for a missed gate or an error of ours, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="parley evaluate",
        description="Measures the exported workers of a pack, stage by stage and as a cascade: figures with intervals, "
        "gates, a page, and the pack's card; docs/evaluation.md.",
    )
    parser.add_argument("pack", metavar="PACK", help="NAME, NAME@VERSION or a pack's folder")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="MANIFEST", help="utterances; of split test"
    )
    parser.add_argument(
        "--dialogues", type=Path, nargs="+", default=[], metavar="MANIFEST", help="with the right replies"
    )
    parser.add_argument(
        "--old-data",
        type=Path,
        nargs="+",
        default=[],
        metavar="MANIFEST",
        help="of what must not be forgotten: utterances or dialogues",
    )
    parser.add_argument(
        "--judge",
        metavar="JUDGE",
        help="who judges the voice: a folder of parley finetune judge, or a pack, whose recognizer does; trained apart "
        "from it [English: PocketSphinx]",
    )
    parser.add_argument("--against", metavar="PACK", help="pack to compare with: sets the gates")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="report and kept results [runs/evaluate/NAME@VERSION]"
    )
    parser.add_argument("--packs", metavar="FOLDER", help="folder of language packs [PARLEY_PACKS, models/packs]")
    args = parser.parse_args(arguments)
    return exit_status(lambda: _run(args), again=SAME)


def _run(args: argparse.Namespace) -> int:
    root = Path(settings_of(argparse.Namespace(packs=args.packs)).packs)
    against = _pack(root, args.against) if args.against else None
    judge = ctc_judge(Path(args.judge)) or pack_judge(_pack(root, args.judge)) if args.judge else None
    pack = _pack(root, args.pack)
    return evaluate(pack, args.data, args.dialogues, against, args.out, old_data=args.old_data, judge=judge)


def evaluate(
    pack: Pack,
    data: Sequence[Path],
    dialogue_data: Sequence[Path],
    against: Pack | None,
    out: Path | None,
    *,
    old_data: Sequence[Path] = (),
    judge: Given | None = None,
) -> int:
    """Measures, writes and prints. 1 where a gate is missed."""
    out = out or Path("runs/evaluate") / pack.reference
    # 1. What is evaluated on: the test rows, never those that decisions were made on.
    old_speech, old_dialogues = cases.by_kind(old_data)
    clips = [*cases.clips(data), *cases.clips(old_speech, old=True)]
    dialogues = cases.dialogues([*dialogue_data, *old_dialogues])
    # 2. Both packs through all stages; what is kept is not measured again.
    with Kept(out / "kept.jsonl") as kept:
        mine = asyncio.run(measure(pack, clips, dialogues, kept, judge))
        theirs = asyncio.run(measure(against, clips, dialogues, kept, judge)) if against else None
    # 3. Figures with intervals, and gates.
    rows, slices = figures(clips, mine, theirs)
    missing = list(dict.fromkeys([*mine.not_measured, *(theirs.not_measured if theirs else ())]))
    if against is None:
        missing.append(("old languages and slices against another pack", "none was given (--against)"))
    # 4. JSON, page, card.
    words = ", ".join(f"{path.parent.name}/{path.name} ({fingerprint(path)[:12]})" for path in (*data, *old_speech))
    facts = {
        "pack": pack.reference, "against": against.reference if against else "", "data": words,
        "clips": str(len(clips)), "speakers": str(len({clip.row.speaker for clip in clips})),
        "dialogues": str(len(dialogues)), "judge of the voice": mine.judge or "none",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    report: dict[str, Any] = {
        **facts, "figures": rows, "slices": [asdict(one) for one in slices],
        "not_measured": [{"what": what, "why": why} for what, why in missing],
        "clips": [
            {"id": clip.row.id, "speaker": clip.row.speaker, "text": clip.row.text, **asdict(heard)}
            for clip, heard in zip(clips, mine.heard, strict=True)
        ],
        "replies": [asdict(one) for one in mine.replied], "voice": [asdict(one) for one in mine.spoken],
        "cascade": [asdict(one) for one in mine.turns],
    }  # fmt: skip
    (out / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    groups = {"Heard worst": _heard_worst(clips, mine), "Understood worst by the judge": _spoken_worst(mine)}
    html = page(f"Evaluation of {pack.reference}", facts, rows, slices, missing, groups)
    (out / "report.html").write_text(html, encoding="utf-8")
    add_to_card(pack, rows, words, missing)
    # 5. The same in words.
    for row in rows:
        low, high = row["interval"]
        print(f"{row['part']:<11} {row['metric']}: {said(row)} [{low:g}, {high:g}] {row['note']}")
    for what, why in missing:
        print(f"not measured: {what}: {why}")
    print(f"{out / 'report.html'}, {out / 'report.json'}, {pack.folder / 'card.md'}")
    return 1 if any(row["passed"] is False for row in rows) else 0


def _pack(root: Path, name: str) -> Pack:
    return read_pack(Path(name)) if (Path(name) / MANIFEST).is_file() else find_pack(root, name)


def _heard_worst(clips: Sequence[cases.Clip], mine: Measured) -> list[Player]:
    """The clips with the most character errors, by share."""
    errors = [one.errors / max(1, one.count) for one in scores(clips, mine.heard, letters=True)]
    worst = sorted(range(len(clips)), key=lambda i: -errors[i])[:PLAYERS]
    found = []
    for i in worst:
        row = clips[i].row
        sound = recording.decode(clips[i].path.read_bytes(), row.start_s, row.end_s)
        note = f"heard: {mine.heard[i].text or '(nothing)'} ({row.speaker})"
        found.append(player(row.text, note, sound.waveform, sound.rate))
    return found


def _spoken_worst(mine: Measured) -> list[Player]:
    """The texts of which the judge understood least, spoken once more."""
    judged = round_trip(mine)
    worst = sorted(range(len(judged)), key=lambda i: -judged[i].errors / max(1, judged[i].count))[:PLAYERS]
    voice = connect.load_synthesizer(mine.pack)
    found = []
    for i in worst:
        waveform, rate, _, _ = asyncio.run(speech(voice, mine.spoken[i].text))
        found.append(player(mine.spoken[i].text, f"judge: {mine.spoken[i].heard or '(nothing)'}", waveform, rate))
    close(voice)
    return found
