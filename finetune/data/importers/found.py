"""What an importer yields: a row, and where its audio is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.data.rows import Utterance

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm", ".aiff")


@dataclass(frozen=True, slots=True)
class Found:
    """One utterance of a corpus. Its row's `audio` is the name that the copy shall have."""

    row: Utterance
    audio: Path | bytes
    """The file, or its bytes where the corpus keeps them inside of a bigger file."""


def utterance(
    *,
    id: str,
    audio: str,
    text: str,
    language: str = "",
    speaker: str = "",
    duration_s: float = 0.0,
    source: str = "",
    licence: str = "",
    consent: str = "",
    split: str = "",
    gender: str = "",
    accent: str = "",
    start_s: float = 0.0,
    end_s: float | None = None,
    translation: str = "",
) -> Utterance:
    """A row where a corpus does not say everything; what stays empty is filled from the command line."""
    return Utterance(
        id=id,
        audio=audio,
        text=" ".join(text.split()),
        language=language,
        speaker=speaker,
        duration_s=duration_s,
        source=source,
        licence=licence,
        consent=consent,
        split=split,
        gender=gender,
        accent=accent,
        start_s=start_s,
        end_s=end_s,
        translation=translation,
    )


def locate(source: Path, said: str) -> Path:
    """Where a manifest's relative path leads: from its own folder, or from one above, where its scripts were run."""
    folder = source.resolve()
    return next((path for base in (folder, *folder.parents) if (path := base / said).is_file()), folder / said)
