"""Hugging Face datasets on disk: what `save_to_disk` wrote, or a folder of parquet files. Read through pyarrow alone.

`datasets` itself would bring a dozen libraries, and decode audio that is only to be copied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.data.errors import ManifestError
from finetune.data.importers.found import Found, utterance

TEXT = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_transcription")
SPEAKER = ("speaker", "speaker_id", "client_id", "speaker_name")
LANGUAGE = ("language", "locale", "lang")
ID = ("id", "utt_id", "file", "path")
ACCENT = ("accent", "accents")
SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}


def rows(source: Path) -> Iterator[Found]:
    """Rows of every split. Column names differ between datasets; the usual ones are known."""
    number = 0
    for split, path in _files(source):
        for record in _records(path):
            number += 1
            yield _found(record, split, number, source, path)


def _files(source: Path) -> list[tuple[str, Path]]:
    """(our name of the split, file) of a dataset, of a dictionary of datasets, or of parquet files by name."""
    dictionary = source / "dataset_dict.json"
    if dictionary.is_file():
        names = json.loads(dictionary.read_text(encoding="utf-8"))["splits"]
        return [(SPLITS.get(name, ""), path) for name in names for path in _arrows(source / name)]
    if (source / "state.json").is_file():
        return [("", path) for path in _arrows(source)]
    found = sorted(source.rglob("*.parquet"))
    if not found:
        raise ManifestError(f"{source} has neither dataset_dict.json, state.json nor *.parquet: not a saved dataset")
    return [(SPLITS.get(path.name.split("-")[0].removesuffix(".parquet"), ""), path) for path in found]


def _arrows(folder: Path) -> list[Path]:
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return [folder / part["filename"] for part in state["_data_files"]]


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """One dictionary a row; a batch is in memory at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=64)
        else:
            batches = iter(pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))))
        for batch in batches:
            for start in range(0, batch.num_rows, 64):
                yield from batch.slice(start, 64).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ManifestError(f"{path} cannot be read as Arrow: {error}") from error


def _found(record: dict[str, Any], split: str, number: int, source: Path, path: Path) -> Found:
    where = f"{path}: row {number}"
    audio = record.get("audio")
    if not isinstance(audio, dict):
        raise ManifestError(f"{where}: field audio: missing, there are: {', '.join(record)}")
    text = _first(record, TEXT)
    if text is None:
        raise ManifestError(f"{where}: no text, expected a column {', '.join(TEXT)}; there are: {', '.join(record)}")
    name = Path(audio.get("path") or f"{number:08d}.wav")
    identity = _first(record, ID)
    stem = Path(str(identity)).stem if identity is not None else name.stem
    row = utterance(
        id=f"{number:08d}-{stem}",
        audio=f"{number:08d}-{stem}{name.suffix or '.wav'}",
        text=text,
        language=_label(_first(record, LANGUAGE)),
        speaker=_label(_first(record, SPEAKER)),
        source=f"{source.name}, row {number}",
        split=split,
        gender=_label(record.get("gender")),
        accent=_label(_first(record, ACCENT)),
    )
    return Found(row, audio["bytes"] if audio.get("bytes") else _beside(source, path, name))


def _beside(source: Path, path: Path, name: Path) -> Path:
    """A dataset may hold paths in place of bytes."""
    return next((folder / name for folder in (path.parent, source) if (folder / name).is_file()), source / name)


def _first(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) not in (None, "")), None)


def _label(value: Any) -> str:
    """A number is a label too: speaker 0 is one."""
    return "" if value is None else str(value)
