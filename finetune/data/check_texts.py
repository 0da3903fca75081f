"""`parley data check` of dialogues and lexicons: every fault at once, as lines, JSON and a page."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from finetune.data import text_faults
from finetune.data.faults import Fault, counted
from finetune.data.manifest import read_dialogues, read_lexicon
from finetune.data.page import page
from finetune.data.rows import Dialogue, Pronunciation
from finetune.data.spelling import Speller
from finetune.run import fingerprint


def check(args: argparse.Namespace, spellers: Sequence[Speller], *, dialogues: bool) -> int:
    """Writes page and JSON; 1 where there is a fault that is no warning. Raises ManifestError."""
    # 1. Rows and their faults
    rows: Sequence[Dialogue | Pronunciation]
    if dialogues:
        talks = list(read_dialogues(args.manifest))
        rows, found, unit = talks, text_faults.of_dialogues(talks, spellers), "dialogues"
    else:
        words = list(read_lexicon(args.manifest))
        rows, found, unit = words, text_faults.of_lexicon(words, spellers), "pronunciations"
    # 2. JSON and page
    out = args.out or args.manifest.parent / "check"
    out.mkdir(parents=True, exist_ok=True)
    report = {
        "manifest": args.manifest.name, "fingerprint": fingerprint(args.manifest), unit: len(rows),
        "faults": sum(not fault.is_warning for fault in found), "warnings": sum(fault.is_warning for fault in found),
        "found": [asdict(fault) for fault in found],
    }  # fmt: skip
    (out / "check.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    facts = {unit: str(len(rows)), **_facts(rows), "fingerprint": str(report["fingerprint"])}
    (out / "check.html").write_text(
        page(f"Check of {args.manifest.name}", facts, {}, counted(found), {}), encoding="utf-8"
    )
    # 3. Lines
    told(found, f"{len(rows)} {unit}", out)
    return 1 if report["faults"] else 0


def told(found: Sequence[Fault], of: str, out: Path) -> None:
    """A line for each kind of fault, and how many there are."""
    for kind, is_warning, count, examples in counted(found):
        print(f"{'warning' if is_warning else 'fault'}: {kind}, {count} times; for instance {examples[0]}")
    faults = sum(not fault.is_warning for fault in found)
    print(f"{faults} faults, {len(found) - faults} warnings in {of}: {out / 'check.html'}")


def _facts(rows: Sequence[Dialogue | Pronunciation]) -> dict[str, str]:
    facts = {
        "languages": ", ".join(sorted({row.language for row in rows})),
        "licences": ", ".join(sorted({row.licence or "(not stated)" for row in rows})),
    }
    talks = [row for row in rows if isinstance(row, Dialogue)]
    if talks:
        roles = Counter(turn.role for row in talks for turn in row.turns)
        facts["turns"] = ", ".join(f"{role} {count}" for role, count in roles.most_common())
        calls = Counter(
            str(call.get("function", {}).get("name")) for row in talks for turn in row.turns for call in turn.tool_calls
        )
        facts["tool calls"] = ", ".join(f"{name} {count}" for name, count in calls.most_common()) or "none"
        splits = Counter(row.split or "none" for row in talks)
        facts["splits"] = ", ".join(f"{split} {count}" for split, count in splits.most_common())
    else:
        words = [row for row in rows if isinstance(row, Pronunciation)]
        letters = Counter(letter for row in words for letter in row.word.casefold())
        phones = Counter(phone for row in words for phone in row.phones)
        facts["letters"] = " ".join(letter for letter, _ in letters.most_common())
        facts["phones"] = " ".join(phone for phone, _ in phones.most_common())
    return facts
