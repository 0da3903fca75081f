"""Manifests of speech collected from many sources: our own fields, and more that say how a clip was made.

A clip of several speakers (`segments`) or without speech (language `zxx`) is no utterance, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finetune.data.errors import ManifestError
from finetune.data.importers.found import Found, utterance
from finetune.data.manifest import json_lines

REQUIRED = ("id", "audio", "text", "language", "speaker")


def rows(source: Path, subset: str = "") -> Iterator[Found]:
    """Clips of a manifest.jsonl, or of the folder that has it; of one `subset` where it is named.

    A subset is what the manifest's field of that name says, or the folder that the clip is in.
    """
    manifest = source / "manifest.jsonl" if source.is_dir() else source
    subsets = set()
    for number, record in json_lines(manifest):
        missing = [name for name in REQUIRED if name not in record]
        if missing:
            raise ManifestError(f"{manifest}:{number}: field {missing[0]}: missing")
        own = record.get("subset") or Path(record["audio"]).parent.name
        subsets.add(own)
        if (subset and own != subset) or record.get("segments") or record["language"] == "zxx":
            continue
        row = utterance(
            id=record["id"],
            audio=record["audio"].removeprefix("audio/"),
            text=record["text"],
            language=record["language"],
            speaker=record["speaker"],
            duration_s=float(record.get("duration_s", 0.0)),
            source=record.get("source", ""),
            licence=record.get("licence", ""),
            consent=record.get("consent", ""),
            split=record.get("split", ""),
            gender=record.get("gender", ""),
            accent=record.get("accent", ""),
        )
        yield Found(row, manifest.parent / record["audio"])
    if subset and subset not in subsets:
        raise ManifestError(f"{manifest} has no subset {subset!r}; there are: {', '.join(sorted(subsets))}")
