"""Whose voice is in what: an append-only ledger from speakers over clips and runs to packs. Knows no audio.

One JSON object a line; a line is never changed. What is forgotten gets a line that says so, and the speaker's label
stays: it is what still connects a pack with what was removed.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.data.errors import ManifestError
from finetune.data.manifest import json_lines
from finetune.data.rows import Dialogue, Utterance, speakers_of

NAME = "ledger.jsonl"
FIELDS = {
    "clips": ("speaker", "clips", "manifest", "consent", "licence"),
    "run": ("run", "data", "clips"),
    "pack": ("pack", "runs"),
    "forgotten": ("speaker", "clips"),
}


@dataclass(frozen=True, slots=True)
class Speaker:
    """What the ledger knows of one speaker."""

    label: str
    clips: tuple[str, ...]
    """Ids of clips that are there."""
    forgotten: tuple[str, ...]
    """Ids of clips that were removed."""
    consent: tuple[str, ...]
    """What was agreed to, in the words of the manifests; an empty text where nobody said."""
    runs: tuple[str, ...]
    """Fingerprints of runs that learnt from any of the clips."""
    packs: tuple[str, ...]
    """NAME@VERSION of packs made of those runs."""


class Ledger:
    """One ledger file; it need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add_clips(self, rows: Iterable[Utterance | Dialogue], manifest: str) -> None:
        """Rows have been imported into a manifest, which is named relative to the ledger."""
        groups: dict[tuple[str, str, str], list[str]] = {}
        for row in rows:
            for speaker in speakers_of(row):
                groups.setdefault((speaker, row.consent, row.licence), []).append(row.id)
        for (speaker, consent, licence), clips in groups.items():
            self._append("clips", speaker=speaker, clips=clips, manifest=manifest, consent=consent, licence=licence)

    def add_run(self, run: str, data: str, rows: Iterable[Utterance | Dialogue]) -> None:
        """A run, by its fingerprint, has learnt from rows; `data` is the fingerprint of their manifest."""
        self._append("run", run=run, data=data, clips=_by_speaker(rows))

    def add_pack(self, pack: str, runs: Iterable[str]) -> None:
        """A pack NAME@VERSION has been made of runs."""
        self._append("pack", pack=pack, runs=list(runs))

    def forget(self, speaker: str, clips: Iterable[str]) -> None:
        """Clips of a speaker have been removed."""
        self._append("forgotten", speaker=speaker, clips=sorted(clips))

    def speakers(self) -> dict[str, Speaker]:
        """Everybody who was ever in the data, by label. Raises ManifestError for a damaged ledger."""
        lines = list(self._lines())
        there: dict[str, set[str]] = {}
        gone: dict[str, set[str]] = {}
        consent: dict[str, set[str]] = {}
        runs: dict[str, list[str]] = {}
        packs: dict[str, list[str]] = {}
        for line in lines:
            if line["event"] == "clips":
                there.setdefault(line["speaker"], set()).update(line["clips"])
                gone.setdefault(line["speaker"], set()).difference_update(line["clips"])
                consent.setdefault(line["speaker"], set()).add(line["consent"])
            elif line["event"] == "forgotten":
                there.setdefault(line["speaker"], set()).difference_update(line["clips"])
                gone.setdefault(line["speaker"], set()).update(line["clips"])
            elif line["event"] == "run":
                for speaker in line["clips"]:
                    runs.setdefault(speaker, []).append(line["run"])
            else:
                for run in line["runs"]:
                    packs.setdefault(run, []).append(line["pack"])
        return {
            label: Speaker(
                label,
                tuple(sorted(there.get(label, ()))),
                tuple(sorted(gone.get(label, ()))),
                tuple(sorted(consent.get(label, ()))),
                tuple(dict.fromkeys(runs.get(label, ()))),
                tuple(dict.fromkeys(pack for run in runs.get(label, ()) for pack in packs.get(run, ()))),
            )
            for label in sorted({*there, *gone, *runs})
        }

    def _append(self, event: str, **fields: Any) -> None:
        """One line in one write, so that two processes do not mix theirs."""
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = json.dumps({"event": event, "time": time, **fields}, ensure_ascii=False) + "\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())

    def _lines(self) -> Iterable[Mapping[str, Any]]:
        if not self._path.exists():
            return
        for number, line in json_lines(self._path):
            event = line.get("event") if isinstance(line, dict) else None
            if event not in FIELDS:
                raise ManifestError(f"{self._path}:{number}: field event: got {event!r}, expected {', '.join(FIELDS)}")
            missing = [name for name in FIELDS[event] if name not in line]
            if missing:
                raise ManifestError(f"{self._path}:{number}: field {missing[0]}: missing")
            yield line


def _by_speaker(rows: Iterable[Utterance | Dialogue]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        for speaker in speakers_of(row):
            found.setdefault(speaker, []).append(row.id)
    return found
