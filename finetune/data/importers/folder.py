"""A plain folder: each recording with a text file of the same name beside it. Folders below are speakers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finetune.data.errors import ManifestError
from finetune.data.importers.found import AUDIO_SUFFIXES, Found, utterance

TEXT_SUFFIXES = (".txt", ".lab")


def rows(source: Path) -> Iterator[Found]:
    """Recordings in order of their names. Raises ManifestError naming every recording without a text at once."""
    texts = {path: _text(path) for path in recordings_in(source)}
    silent = [str(path.relative_to(source)) for path, text in texts.items() if text is None]
    if silent:
        raise ManifestError(
            f"{source}: {len(silent)} recordings have no text file of the same name beside them (.txt or .lab): "
            f"{', '.join(silent[:20])}; format recordings takes them without"
        )
    for path, text in texts.items():
        yield found(source, path, text or "")


def recordings_in(source: Path) -> list[Path]:
    """Files of a folder and of those below it. Raises ManifestError where there are none."""
    recordings = sorted(path for path in source.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not recordings:
        raise ManifestError(f"{source} has no recordings, expected files in {', '.join(AUDIO_SUFFIXES)}")
    return recordings


def found(source: Path, path: Path, text: str) -> Found:
    """A recording, whose folder is its speaker."""
    name = path.relative_to(source)
    row = utterance(
        id=str(name.with_suffix("")).replace("/", "-"),
        audio=str(name),
        text=text,
        speaker=name.parts[0] if len(name.parts) > 1 else "",
        source=f"{source.name}, {name}",
    )
    return Found(row, path)


def _text(recording: Path) -> str | None:
    for suffix in TEXT_SUFFIXES:
        path = recording.with_suffix(suffix)
        if path.is_file():
            return path.read_text(encoding="utf-8-sig")
    return None
