"""`python -m finetune.compare.gaelic`: real speech for a comparison: Scottish Gaelic phrases, answered in English.

The clips are named after what they mean (gd-word-bee), so each phrase is a request whose reply is its gloss. The
language model may learn all of these texts but those of dev; only the recordings of test are kept out. One person
speaks in all of them. `python -m finetune.demos.gaelic data` imports them first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from finetune.data.manifest import read_utterances, write_manifest
from finetune.data.rows import Dialogue, Turn, Utterance
from finetune.demos.gaelic import FOLDER as RECORDINGS
from finetune.errors import RunError

PHRASES: Final = RECORDINGS / "data/phrases_gd/manifest.jsonl"
OUT: Final = Path("runs/compare/gaelic")
BEFORE: Final = "gd-word-"


def main() -> None:
    """Writes the dialogues to learn and those of test."""
    if not PHRASES.is_file():
        raise RunError(f"got no {PHRASES}, expected what `python -m finetune.demos.gaelic data` imports")
    rows = list(read_utterances(PHRASES))
    OUT.mkdir(parents=True, exist_ok=True)
    print(write_manifest(OUT / "learnt.jsonl", learnt(rows)), write_manifest(OUT / "test.jsonl", tested(rows)))


def learnt(rows: list[Utterance]) -> Iterator[Dialogue]:
    """All phrases: those whose recordings are dev decide, the others are train."""
    for row in rows:
        if gloss(row):
            yield dialogue(row, "dev" if row.split == "dev" else "train")


def tested(rows: list[Utterance]) -> Iterator[Dialogue]:
    """Those whose recordings are kept out."""
    for row in rows:
        if gloss(row) and row.split == "test":
            yield dialogue(row, "test")


def dialogue(row: Utterance, split: str) -> Dialogue:
    """A phrase and its meaning."""
    turns = (Turn("user", row.text), Turn("assistant", gloss(row)))
    return Dialogue(row.id, row.language, turns, row.source, row.licence, row.consent, split)


def gloss(row: Utterance) -> str:
    """What a clip's name says that it means; empty: nothing."""
    return row.id.removeprefix(BEFORE).replace("_", " ").replace("-", " ") if row.id.startswith(BEFORE) else ""


if __name__ == "__main__":
    main()
