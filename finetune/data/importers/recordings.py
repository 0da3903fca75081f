"""Recordings alone, without texts: what unpaired audio is. Folders below are speakers; text files are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from finetune.data.importers.folder import found, recordings_in
from finetune.data.importers.found import Found


def rows(source: Path) -> Iterator[Found]:
    """Recordings in order of their names, with empty texts. Raises ManifestError where there are none."""
    return (found(source, path, "") for path in recordings_in(source))
