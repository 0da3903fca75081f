"""Figures into the pack's card: rows of the same name are replaced, all others stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.cards import read_card, write_card, write_section
from app.packs import Pack


def add_to_card(pack: Pack, rows: Sequence[dict[str, Any]], data: str, missing: Sequence[tuple[str, str]]) -> None:
    """Writes card.json and a section of card.md; `data` says in words what was evaluated on. Raises PackError."""
    card = read_card(pack)
    new = {(row["part"], row["metric"]) for row in rows}
    stay = [row for row in card["evaluation"] if (row["part"], row["metric"]) not in new]
    card["evaluation"] = [*stay, *({**row, "note": f"{row['note']}; {data}"} for row in rows)]
    card["not_measured"] = [part for part in card["not_measured"] if part not in {part for part, _ in new}]
    if any(metric.endswith("_change") and part == "recognizer" for part, metric in new):
        card["not_compared"] = [part for part in card["not_compared"] if part != "recognizer"]
    gated = [row for row in card["evaluation"] if row["gate"] is not None]
    card["gates"] = {"met": sum(bool(row["passed"]) for row in gated), "of": len(gated)}
    write_card(pack.folder, card)
    lines = ["## Evaluation", "", f"On {data}; intervals are 95 %.", "", *table(rows), ""]
    lines += [f"Not measured: {what}: {why}." for what, why in missing]
    write_section(pack.folder, "evaluation", [*lines, ""])


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Rows as a Markdown table."""
    lines = ["| part | what | value | 95 % interval | n | gate | note |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        low, high = row["interval"]
        verdict = "" if row["passed"] is None else ", met" if row["passed"] else ", **missed**"
        gate = f"{row['gate']['op']} {row['gate']['value']:g}{verdict}" if row["gate"] else ""
        lines.append(
            f"| {row['part']} | {row['metric']} | {row['value']:g} {row['unit']} | {low:g} to {high:g} | "
            f"{row['n']} {row['n_unit']} | {gate} | {row['note']} |"
        )
    return lines
