"""The pack's evaluation card: `python -m finetune.starter.card`. Gathers what was measured; measures nothing.

Reads RUNS/{recognizer,language,voice}/evaluation.json, and facts.json beside it where a part wrote one; writes
card.json, card.md and NOTICE into the pack. A gate that is missed, or was not measured, is written as that.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from app.packs import Pack, read_pack
from finetune.starter.language import PACK

RUNS: Final = Path("runs/starter")
PARTS: Final = ("recognizer", "language", "voice")
MAX_MEGABYTES: Final = 40.0
KEYS: Final = {"part", "metric", "value", "unit", "n", "n_unit", "interval", "gate", "passed", "note"}


@dataclass(frozen=True)
class Source:
    """Something that a part was trained on."""

    name: str
    licence: str
    credit: str
    used_for: str


SOURCES: Final = (
    Source("speech by espeak-ng, flite, festival", "none: a program's output", "their authors", "recognizer, voice"),
    Source("en_kathleen, 1.4 hours of a reader", "CC0 1.0", "volunteers of Rhasspy", "recognizer, voice"),
    Source("CMU pronouncing dictionary", "BSD-2-Clause", "Carnegie Mellon University", "language, voice"),
    Source("PocketSphinx, model of general English", "BSD-2-Clause", "Carnegie Mellon University", "second opinion"),
    Source("SLURP, text part", "CC BY 4.0", "Bastianelli, Vanzo, Swietojanski, Rieser, 2020", "recognizer, language"),
    Source("Taskmaster-4, text", "CC BY 4.0", "Byrne, Ganesh; Google", "recognizer, language"),
    Source("Home Assistant intents, text", "CC BY 4.0", "Open Home Foundation and contributors", "recognizer"),
    Source("XPersona, text", "MIT", "HLTCHKUST; Facebook ParlAI (ConvAI2)", "recognizer"),
    Source("ChatterBot corpus, text", "BSD-3-Clause", "Gunther Cox and contributors", "language"),
    Source("sentences, dialogues and stories of finetune/starter", "Apache-2.0", "Parley", "all parts"),
)  # fmt: skip
"""Everything that went into the shipped weights: nothing under GPL or share-alike terms."""


def write_card(pack_folder: Path, runs: Path) -> dict[str, Any]:
    """Writes card.json, card.md and NOTICE; gives the card. Raises ValueError for bad rows or a pack over 40 MB."""
    pack = read_pack(pack_folder)
    size = pack_megabytes(pack_folder)
    if size > MAX_MEGABYTES:
        raise ValueError(f"{pack_folder} has {size:.1f} MB, expected at most {MAX_MEGABYTES:g}")
    rows = {part: _rows(runs / part / "evaluation.json", part) for part in PARTS}
    gated = [row for part in PARTS for row in rows[part] if row["gate"] is not None]
    card = {
        "pack": pack.name,
        "version": pack.version,
        "language": pack.language,
        "megabytes": round(size, 1),
        "gates": {"met": sum(bool(row["passed"]) for row in gated), "of": len(gated)},
        "not_measured": [part for part in PARTS if not rows[part]],
        "training": {part: _facts(runs / part / "facts.json") for part in PARTS},
        "sources": [asdict(source) for source in SOURCES],
        "evaluation": [row for part in PARTS for row in rows[part]],
    }
    (pack_folder / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (pack_folder / "card.md").write_text(page(pack, card), encoding="utf-8")
    (pack_folder / "NOTICE").write_text(notice(pack), encoding="utf-8")
    return card


def pack_megabytes(folder: Path) -> float:
    """Size of all files of a pack, in millions of bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def page(pack: Pack, card: dict[str, Any]) -> str:
    """The card for a reader, as Markdown."""
    gates = card["gates"]
    lines = [
        f"# {pack.name} {pack.version}", "", pack.description, "", pack.knows, "",
        f"{gates['met']} of {gates['of']} gates met. {card['megabytes']} MB. Measured on data kept out of training "
        "decision; intervals are 95 %.", "",
    ]  # fmt: skip
    for part in PARTS:
        rows = [row for row in card["evaluation"] if row["part"] == part]
        lines += [f"## {part.capitalize()}", ""]
        if not rows:
            lines += ["Not measured.", ""]
            continue
        lines += ["| what | value | 95 % interval | n | gate | |", "| --- | --- | --- | --- | --- | --- |"]
        lines += [_table_row(row) for row in rows]
        notes = [f"- {row['metric']}: {row['note']}." for row in rows if row["note"]]
        lines += ["", *notes, ""]
        if facts := card["training"][part]:
            listed = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
            lines += [f"Training: {listed}.", ""]
    lines += ["## Sources", "", "| what | licence | whose | used for |", "| --- | --- | --- | --- |"]
    lines += [f"| {s['name']} | {s['licence']} | {s['credit']} | {s['used_for']} |" for s in card["sources"]]
    return "\n".join([*lines, ""])


def notice(pack: Pack) -> str:
    """Sources and licences as plain text."""
    head = f"{pack.name}: weights trained by Parley (Apache-2.0) on the following.\n"
    return "\n".join([head, *(f"{s.name}\n    {s.licence}; {s.credit}; used for: {s.used_for}" for s in SOURCES), ""])


def _table_row(row: dict[str, Any]) -> str:
    unit = row["unit"]
    low, high = row["interval"] or ("", "")
    interval = f"{low:g} to {high:g}" if row["interval"] else ""
    gate = f"{row['gate']['op']} {row['gate']['value']:g} {unit}" if row["gate"] else ""
    verdict = "" if row["passed"] is None else "met" if row["passed"] else "**missed**"
    return (
        f"| {row['metric']} | {row['value']:g} {unit} | {interval} | {row['n']} {row['n_unit']} | {gate} | {verdict} |"
    )


def _rows(path: Path, part: str) -> list[dict[str, Any]]:
    """A part's rows, checked; none where it has not been measured."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        if set(row) != KEYS or row["part"] != part:
            raise ValueError(f"{path}: got a row {row}, expected the keys {sorted(KEYS)} and part {part!r}")
        if (row["gate"] is None) != (row["passed"] is None):
            raise ValueError(f"{path}: {row['metric']!r} has a gate without a verdict, or a verdict without a gate")
    return rows


def _facts(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return facts


def main() -> None:
    """Writes the card of the starter pack and says what it found."""
    parser = argparse.ArgumentParser(prog="python -m finetune.starter.card", description=__doc__)
    parser.add_argument("--pack", type=Path, default=PACK)
    parser.add_argument("--runs", type=Path, default=RUNS)
    arguments = parser.parse_args()
    card = write_card(arguments.pack, arguments.runs)
    for row in card["evaluation"]:
        if row["passed"] is False:
            print(f"missed: {row['part']}, {row['metric']}: {row['value']:g} {row['unit']}")
    for part in card["not_measured"]:
        print(f"not measured: {part} (make starter-{part})")
    gates = card["gates"]
    print(f"{arguments.pack / 'card.md'}: {gates['met']} of {gates['of']} gates met, {card['megabytes']} MB")


if __name__ == "__main__":
    main()
