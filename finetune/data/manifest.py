"""Manifests: JSON Lines of rows, read one line at a time, written whole or not at all. Knows no audio.

A fault names file, line and field. An unknown field is one, since a misspelt name would silently lose its values.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from finetune.data.errors import ManifestError
from finetune.data.rows import Dialogue, Pronunciation, Turn, Utterance

Row = TypeVar("Row", Utterance, Dialogue, Pronunciation)


def read_utterances(manifest: Path) -> Iterator[Utterance]:
    """Rows as they are asked for. Raises ManifestError at the first line that is none, or repeats an id."""
    seen: set[str] = set()
    for number, row in _rows(manifest, Utterance):
        if row.id in seen:
            raise ManifestError(f"{manifest}:{number}: field id: {row.id!r} has been given before")
        seen.add(row.id)
        yield row


def read_dialogues(manifest: Path) -> Iterator[Dialogue]:
    """Rows as they are asked for. Raises ManifestError."""
    return (row for _, row in _rows(manifest, Dialogue))


def read_lexicon(manifest: Path) -> Iterator[Pronunciation]:
    """Rows as they are asked for. Raises ManifestError."""
    return (row for _, row in _rows(manifest, Pronunciation))


def write_manifest(manifest: Path, rows: Iterable[Utterance | Dialogue | Pronunciation]) -> int:
    """Writes the rows and returns how many; a fault or a kill on the way leaves what was there before."""
    manifest.parent.mkdir(parents=True, exist_ok=True)
    partial = manifest.with_name(f"{manifest.name}.{os.getpid()}.partial")
    count = 0
    try:
        with partial.open("w", encoding="utf-8") as file:
            for count, row in enumerate(rows, start=1):  # noqa: B007
                file.write(json.dumps(_said(row), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(manifest)
    finally:
        partial.unlink(missing_ok=True)
    return count


def kind_of(manifest: Path) -> str:
    """utterances, dialogues or pronunciations, told by the first row. Raises ManifestError for something else."""
    record: object = next(json_lines(manifest), (0, {}))[1]
    fields = record.keys() if isinstance(record, dict) else set()
    for field, kind in (("audio", "utterances"), ("turns", "dialogues"), ("phones", "pronunciations")):
        if field in fields:
            return kind
    raise ManifestError(f"{manifest}: the first row has none of audio, turns and phones, expected one of them")


def audio_path(manifest: Path, row: Utterance) -> Path:
    """Where a row's audio is. Raises ManifestError for one outside of the manifest's folder.

    A manifest may come from someone else; a path in it must not reach this machine's other files.
    """
    path = manifest.parent / row.audio
    if not path.resolve().is_relative_to(manifest.parent.resolve()):
        raise ManifestError(
            f"{manifest}: row {row.id!r}: field audio: {row.audio!r} is outside of the manifest's folder"
        )
    return path


def fingerprint(manifest: Path) -> str:
    """SHA-256 over the rows and the bytes of their audio: the same data, wherever it lies, has the same one."""
    digest = hashlib.sha256()
    for row in read_utterances(manifest):
        digest.update(json.dumps(_said(row), sort_keys=True).encode())
        path = audio_path(manifest, row)
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def parse(kind: type[Row], record: object, where: str) -> Row:
    """A row from a decoded JSON object; `where` stands before a fault's message. Raises ManifestError."""
    if not isinstance(record, dict):
        raise ManifestError(f"{where}: got {type(record).__name__}, expected an object")
    if kind is Dialogue and isinstance(record.get("turns"), list):
        turns = (_fill(Turn, turn, f"{where}: field turns[{i}]") for i, turn in enumerate(record["turns"]))
        record = {**record, "turns": tuple(turns)}
    return _fill(kind, record, where)


def _rows(manifest: Path, kind: type[Row]) -> Iterator[tuple[int, Row]]:
    for number, record in json_lines(manifest):
        yield number, parse(kind, record, f"{manifest}:{number}")


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and value of each line that is not empty. Raises ManifestError."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise ManifestError(
                        f"{path}:{number}: got no JSON ({error}), expected one object a line"
                    ) from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error


_Kind = TypeVar("_Kind")


def _fill(kind: type[_Kind], record: Any, where: str) -> _Kind:
    """A dataclass from an object: every key known, every type right, none missing."""
    if not isinstance(record, dict):
        raise ManifestError(f"{where}: got {type(record).__name__}, expected an object")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for name in record:
        if name not in fields:
            raise ManifestError(f"{where}: field {name}: unknown, expected one of {', '.join(fields)}")
    values = {}
    for name, field in fields.items():
        if name not in record:
            if field.default is dataclasses.MISSING:
                raise ManifestError(f"{where}: field {name}: missing")
            continue
        values[name] = _typed(record[name], hints[name], f"{where}: field {name}")
    try:
        return kind(**values)
    except ValueError as error:
        raise ManifestError(f"{where}: field {error}") from error


def _typed(value: Any, hint: Any, where: str) -> Any:
    if isinstance(hint, UnionType):
        if value is None:
            return None
        hint = get_args(hint)[0]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if getattr(hint, "__origin__", None) is tuple:
        items = get_args(hint)[0]
        base = getattr(items, "__origin__", items)
        if isinstance(value, list | tuple) and all(isinstance(item, base) for item in value):
            return tuple(value)
        raise ManifestError(f"{where}: got {value!r}, expected a list")
    if not isinstance(value, hint) or isinstance(value, bool):
        raise ManifestError(f"{where}: got {value!r}, expected {hint.__name__}")
    return value


def _said(row: Utterance | Dialogue | Pronunciation) -> Mapping[str, Any]:
    """A row's fields, without those that say nothing but their default."""
    defaults = {field.name: field.default for field in dataclasses.fields(row)}
    return {name: value for name, value in dataclasses.asdict(row).items() if value != defaults[name]} | (
        {"turns": [_turn(turn) for turn in row.turns]} if isinstance(row, Dialogue) else {}
    )


def _turn(turn: Turn) -> Mapping[str, Any]:
    return {name: value for name, value in dataclasses.asdict(turn).items() if value or name in ("role", "text")}
