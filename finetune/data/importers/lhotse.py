"""Lhotse's manifests: a folder with `*cuts*.jsonl[.gz]`, or `*recordings*` and `*supervisions*`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune.data.errors import ManifestError
from finetune.data.importers.found import Found, locate, utterance


def rows(source: Path) -> Iterator[Found]:
    """One utterance a supervision, with the cut's or recording's file."""
    cuts = _files(source, "cuts")
    if cuts:
        for path in cuts:
            for number, cut in _lines(path):
                yield from _of_cut(source, cut, f"{path}:{number}")
        return
    recordings = {}
    for path in _files(source, "recordings"):
        for number, recording in _lines(path):
            recordings[_field(recording, "id", f"{path}:{number}")] = (recording, f"{path}:{number}")
    found = _files(source, "supervisions")
    if not recordings or not found:
        raise ManifestError(f"{source} has neither *cuts*.jsonl nor *recordings*.jsonl with *supervisions*.jsonl")
    for path in found:
        for number, supervision in _lines(path):
            where = f"{path}:{number}"
            name = _field(supervision, "recording_id", where)
            if name not in recordings:
                raise ManifestError(f"{where}: field recording_id: {name!r} is in no *recordings*.jsonl")
            recording, recorded = recordings[name]
            yield _found(source, recording, supervision, float(supervision.get("start", 0.0)), recorded, where)


def _of_cut(source: Path, cut: Mapping[str, Any], where: str) -> Iterator[Found]:
    if cut.get("type", "MonoCut") != "MonoCut":
        raise ManifestError(f"{where}: field type: got {cut['type']!r}, expected MonoCut; mixed cuts have no one file")
    for supervision in cut.get("supervisions") or ():
        start = float(cut.get("start", 0.0)) + float(supervision.get("start", 0.0))  # a cut's own time starts at 0
        yield _found(source, _field(cut, "recording", where), supervision, start, where, where)


def _found(
    source: Path, recording: Any, supervision: Mapping[str, Any], start: float, recorded: str, where: str
) -> Found:
    parts = _field(recording, "sources", recorded)
    if len(parts) != 1 or parts[0].get("type") != "file" or parts[0].get("channels", [0]) != [0]:
        raise ManifestError(f"{recorded}: field sources: got {parts!r}, expected one file of one channel")
    duration = float(_field(supervision, "duration", where))
    whole = start == 0.0 and abs(duration - float(recording.get("duration", 0.0))) < 0.01
    path = locate(source, parts[0]["source"])
    row = utterance(
        id=str(_field(supervision, "id", where)),
        audio=f"{recording['id']}{path.suffix}",
        text=supervision.get("text") or "",
        language=supervision.get("language") or "",
        speaker=supervision.get("speaker") or "",
        duration_s=duration,
        source=f"{source.name}, {recording['id']}",
        gender=supervision.get("gender") or "",
        start_s=0.0 if whole else start,
        end_s=None if whole else start + duration,
    )
    return Found(row, path)


def _files(source: Path, kind: str) -> list[Path]:
    return sorted({*source.glob(f"*{kind}*.jsonl"), *source.glob(f"*{kind}*.jsonl.gz")})


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise ManifestError(f"{path}:{number}: got no JSON, expected one object a line") from error


def _field(record: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in record:
        raise ManifestError(f"{where}: field {name}: missing")
    return record[name]
