"""Common Voice: `train.tsv`, `dev.tsv`, `test.tsv` or `validated.tsv` beside a folder `clips`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from finetune.data.errors import ManifestError
from finetune.data.importers.found import Found, utterance

REQUIRED = ("client_id", "path", "sentence")
LICENCE = "CC0-1.0"  # of every Common Voice release: https://commonvoice.mozilla.org/en/terms


def rows(source: Path) -> Iterator[Found]:
    """Clips of the release's own splits, or of `validated.tsv` without any; `source` may also be one TSV file."""
    if source.is_file():
        tables = [source]
    else:
        tables = [path for name in ("train", "dev", "test") if (path := source / f"{name}.tsv").is_file()]
        tables = tables or [source / "validated.tsv"]
    for table in tables:
        yield from _rows(table)


def _rows(table: Path) -> Iterator[Found]:
    split = table.stem if table.stem in ("train", "dev", "test") else ""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)  # a sentence may hold a lone quote
            missing = [name for name in REQUIRED if name not in (lines.fieldnames or ())]
            if missing:
                raise ManifestError(f"{table}:1: field {missing[0]}: missing, expected columns {', '.join(REQUIRED)}")
            for line in lines:
                if any(line[name] is None for name in REQUIRED):
                    raise ManifestError(
                        f"{table}:{lines.line_num}: got {len(line)} columns, expected {lines.fieldnames}"
                    )
                name = line["path"] if "." in line["path"] else f"{line['path']}.mp3"  # old releases leave it out
                row = utterance(
                    id=name.rsplit(".", 1)[0],
                    audio=name,
                    text=line["sentence"],
                    language=line.get("locale") or "",
                    speaker=line["client_id"],
                    source=f"Common Voice, {name}",
                    licence=LICENCE,
                    split=split,
                    gender=line.get("gender") or "",
                    accent=line.get("accents") or line.get("accent") or line.get("variant") or "",
                )
                yield Found(row, table.parent / "clips" / name)
    except OSError as error:
        raise ManifestError(f"{table} cannot be read: {error.strerror}; expected train.tsv or validated.tsv") from error
