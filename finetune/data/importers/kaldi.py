"""A Kaldi data folder: `wav.scp`, `text`, `utt2spk`, and where there are any `segments`, `spk2gender`, `utt2lang`.

A command in wav.scp (a line that ends in `|`) is never run: a corpus must not execute anything here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finetune.data.errors import ManifestError
from finetune.data.importers.found import Found, locate, utterance


def rows(source: Path) -> Iterator[Found]:
    """Utterances of `text`. Relative paths of wav.scp start at the folder or above it."""
    recordings = _table(source / "wav.scp")
    texts = _table(source / "text", may_be_empty=True)
    speakers = _table(source / "utt2spk")
    segments = _table(source / "segments") if (source / "segments").is_file() else {}
    genders = _table(source / "spk2gender") if (source / "spk2gender").is_file() else {}
    languages = _table(source / "utt2lang") if (source / "utt2lang").is_file() else {}
    for name, (number, text) in texts.items():
        where = f"{source / 'text'}:{number}"
        recording, start, end = name, 0.0, None
        if segments:
            recording, start, end = _segment(segments, name, source)
        if recording not in recordings:
            raise ManifestError(f"{where}: field recording: {recording!r} is not in wav.scp")
        if name not in speakers:
            raise ManifestError(f"{where}: field speaker: {name!r} is not in utt2spk")
        line, path = recordings[recording]
        if path.endswith("|"):
            raise ManifestError(
                f"{source / 'wav.scp'}:{line}: got a command, expected a file; commands are not run: write its output"
            )
        speaker = speakers[name][1]
        audio = locate(source, path)
        row = utterance(
            id=name,
            audio=f"{recording}{audio.suffix}",
            text=text,
            language=languages.get(name, (0, ""))[1],
            speaker=speaker,
            duration_s=end - start if end is not None else 0.0,
            source=f"{source.name}, {recording}",
            gender=genders.get(speaker, (0, ""))[1],
            start_s=start,
            end_s=end,
        )
        yield Found(row, audio)


def _segment(segments: dict[str, tuple[int, str]], name: str, source: Path) -> tuple[str, float, float | None]:
    if name not in segments:
        raise ManifestError(f"{source / 'segments'}: utterance {name!r} is missing")
    number, said = segments[name]
    try:
        recording, start, end = said.split()
        return recording, float(start), float(end) if float(end) > 0 else None  # -1: the recording's end
    except ValueError:
        raise ManifestError(
            f"{source / 'segments'}:{number}: got {said!r}, expected RECORDING START END in seconds"
        ) from None


def _table(path: Path, *, may_be_empty: bool = False) -> dict[str, tuple[int, str]]:
    """Key -> (line number, the rest of the line)."""
    found = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            key, _, value = line.strip().partition(" ")
            key, _, value = line.strip().partition("\t") if "\t" in key else (key, "", value)
            if not value.strip() and not may_be_empty:
                raise ManifestError(f"{path}:{number}: got {line!r}, expected KEY VALUE")
            found[key] = (number, value.strip())
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
    return found
