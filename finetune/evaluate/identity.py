"""Which weights and settings a result belongs to, so that kept results of other ones are never taken for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.packs import Pack


def stage_hash(pack: Pack, stage: str) -> str:
    """SHA-256 of a stage's settings and files; of recognizer, language or voice."""
    folder, settings = {
        "recognizer": (pack.recognizer_folder, repr(pack.recognizer)),
        "language": (pack.language_folder, repr(pack.language_model)),
        "voice": (pack.voice_folder, repr(pack.voice)),
    }[stage]
    digest = hashlib.sha256(f"{pack.language} {settings}".encode())
    files = sorted(folder.rglob("*")) if folder.is_dir() else []
    if stage == "recognizer" and pack.recognizer.second_opinion_words:
        files.append(pack.folder / pack.recognizer.second_opinion_words)
    for path in files:
        if path.is_file():
            digest.update(path.relative_to(pack.folder).as_posix().encode())
            digest.update(_hash(path))
    return digest.hexdigest()


def folder_hash(folder: Path) -> str:
    """SHA-256 of the files in a folder, by name."""
    return hashlib.sha256(b"".join(path.name.encode() + _hash(path) for path in sorted(folder.iterdir()))).hexdigest()


def key(*parts: str) -> str:
    """One key of several texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
