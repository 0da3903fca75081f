"""A pack's evaluation card on disk, card.json and card.md: which gates failed, and what was said about it.

Knows no measurement: whoever measures writes rows of KEYS; a row with a gate has a verdict, `passed`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from app.errors import PackError
from app.packs import Pack

CARD = "card.json"
PAGE = "card.md"
KEYS: Final = {"part", "metric", "value", "unit", "n", "n_unit", "interval", "gate", "passed", "note"}


def read_card(pack: Pack) -> dict[str, Any]:
    """The card; for a pack that was never evaluated one without figures. Raises PackError."""
    path = pack.folder / CARD
    empty: dict[str, Any] = {
        "pack": pack.name, "version": pack.version, "language": pack.language, "not_measured": [],
        "not_compared": [], "evaluation": [],
    }  # fmt: skip
    if not path.is_file():
        return empty
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PackError(f"{path} is not JSON: {error}") from error
    rows = card.get("evaluation") if isinstance(card, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(row) == KEYS for row in rows):
        raise PackError(f'{path} is no card: expected an object with "evaluation", rows of {sorted(KEYS)}')
    return empty | card


def failed_gates(pack: Pack) -> list[str]:
    """Why the pack should not be promoted, a line for each failed gate. Raises PackError."""
    card = read_card(pack)
    rows = card["evaluation"]
    if not rows:
        return [f"{pack.reference} was never evaluated: it has no figures in {CARD} (parley evaluate)"]
    unknown = [f"its {part} was never evaluated (parley evaluate)" for part in card["not_measured"]]
    unknown += [
        f"its {part} was never compared with another pack: old languages and the worst slice are not known "
        f"(parley evaluate --against)"
        for part in card["not_compared"]
    ]
    return [*unknown, *(f"{row['part']}, {row['metric']}: {said(row)}" for row in rows if row["passed"] is False)]


def said(row: dict[str, Any]) -> str:
    """A figure in words: value, how many, gate."""
    gate = f", gate {row['gate']['op']} {row['gate']['value']:g}" if row["gate"] else ""
    verdict = "" if row["passed"] is None else " met" if row["passed"] else " missed"
    return f"{row['value']:g} {row['unit']} (n {row['n']} {row['n_unit']}{gate}{verdict})"


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Writes card.json, whole or not at all."""
    write_whole(folder / CARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def write_section(folder: Path, name: str, lines: Sequence[str]) -> None:
    """Puts a section into card.md, in the place of the one of that name; what others wrote stays."""
    path = folder / PAGE
    text = path.read_text(encoding="utf-8") if path.is_file() else f"# {folder.name}\n"
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = "\n".join([begin, *lines, end])
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text = found.sub(lambda _: section, text) if found.search(text) else f"{text.rstrip()}\n\n{section}\n"
    write_whole(path, text)


def write_whole(path: Path, text: str) -> None:
    """A file that is there with all of its text or as it was before, also after a loss of power."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
