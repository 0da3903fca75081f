"""Results that took time, kept by key in a JSON Lines file, so that work which was interrupted goes on where it was.

A result is a line at once; a line that a kill has cut is not there, and its work is done again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Kept:
    """One file of results; open while it is used as a context."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] = {}

    def __enter__(self) -> Kept:
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    record = json.loads(line)
                    self._known[record["key"]] = record["value"]
                except (ValueError, KeyError, TypeError):
                    continue
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        if self._known:
            self._file.write("\n")  # ends a line that was cut
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> Any | None:
        """The value, or None."""
        return self._known.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keeps a JSON value."""
        self._known[key] = value
        self._file.write(json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n")
