"""What a recipe's run folder says of itself: measurements, how far it is, the best weights. Reads files, changes none.

RUN/metrics.jsonl has a line a measurement, RUN/best/step-000040.pt weights, RUN/facts.json the configuration. A recipe
that trains one network after the other has a folder with such files for each, and the joint one such runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
RESULTS = ("config.yaml", "facts.json", METRICS, "curves.svg", "evaluation.json")
LAST_BYTES = 16_384  # of measurements, among which the last whole one is looked for
OWN_NAMES = ("step", "seconds", "stage")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights that were among the best on dev."""

    stage: str
    step: int
    path: Path
    metrics: Mapping[str, float]


def rows(run: Path) -> list[dict[str, Any]]:
    """Measurements, each with `step`, `total_steps` where it is known, and `stage` where there are several."""
    found = []
    for part, stage in _parts(run):
        total = _steps(part)
        for line in _text(part / METRICS).splitlines():
            if not (row := _row(line)):
                break  # it is being written
            found.append({**({"stage": stage} if stage else {}), "step": row["step"], "total_steps": total, **row})
    return found


def latest(run: Path) -> dict[str, Any] | None:
    """`stage`, `step` and `total_steps` of the newest measurement; reads no more than the end of one file."""
    for part, stage in reversed(_parts(run)):
        with (part / METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        for line in reversed(lines):
            if row := _row(line):
                return {"stage": stage or None, "step": row["step"], "total_steps": _steps(part)}
    return None


def measured_bytes(run: Path) -> int:
    """How much has been measured: it changes with each new measurement."""
    return sum((part / METRICS).stat().st_size for part, _ in _parts(run))


def events_of(measured: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Measurements by a name of their own: a resumed run that measures a step again gives the same name."""
    found = {}
    for row in measured:
        names = ",".join(sorted(row.keys() - {*OWN_NAMES, "total_steps"}))
        key = hashlib.sha256(f"{row.get('stage', '')} {names}".encode()).hexdigest()[:8]
        data = {"train_loss" if name == "loss" else name: value for name, value in row.items() if value is not None}
        found[f"{row['step']:08d}-{key}"] = data
    return found


def seconds_left(measured: Sequence[Mapping[str, Any]]) -> float | None:
    """Until training ends, by its own pace so far; export is not counted. None where that cannot be said.

    Of several networks only the last one to be trained is in the run's own folder: before, more is to come.
    """
    if not measured or not (last := measured[-1]).get("total_steps") or not last.get("seconds") or last.get("stage"):
        return None
    pace = float(last["seconds"]) / max(1, int(last["step"]))
    return pace * max(0, int(last["total_steps"]) - int(last["step"]))


def checkpoints(run: Path) -> list[Checkpoint]:
    """The best weights on disk, newest first, each with what was measured at its step."""
    measured = rows(run)
    found = []
    for part, stage in _parts(run):
        for path in (part / "best").glob("step-*.pt"):
            if not (number := re.fullmatch(r"step-(\d+)", path.stem)):
                continue
            step = int(number[1])
            metrics: dict[str, float] = {"step": step}
            for row in measured:
                if row["step"] == step and row.get("stage", "") == stage:
                    values = {name: value for name, value in row.items() if isinstance(value, int | float)}
                    metrics |= {"train_loss" if name == "loss" else name: value for name, value in values.items()}
            metrics.pop("total_steps", None)
            found.append(Checkpoint(stage, step, path, metrics))
    return sorted(found, key=lambda one: (one.path.stat().st_mtime, one.step), reverse=True)


def results(run: Path) -> list[Path]:
    """Files that say what came of a run."""
    found = []
    for part in dict.fromkeys([run, *(part for part, _ in _parts(run))]):
        found += [path for name in RESULTS if (path := part / name).is_file()]
    return [*found, *sorted(run.glob("*.html"))]


def _parts(run: Path) -> list[tuple[Path, str]]:
    """The folders that have measurements, the one that measured last at the end, each by its name below the run."""
    found = [path for pattern in (METRICS, f"*/{METRICS}", f"*/*/{METRICS}") for path in run.glob(pattern)]
    found.sort(key=lambda path: path.stat().st_mtime_ns)
    return [(path.parent, "" if path.parent == run else path.parent.relative_to(run).as_posix()) for path in found]


def _steps(part: Path) -> int | None:
    """How many steps the part's configuration asks for."""
    try:
        configuration = json.loads(_text(part / "facts.json") or "{}").get("configuration", {})
    except ValueError:
        return None
    for values in (configuration, configuration.get("training")):  # a stage's configuration is its training
        if isinstance(values, dict) and isinstance(values.get("steps"), int):
            return int(values["steps"])
    return None


def _row(line: str) -> dict[str, Any] | None:
    """A measurement; None for a line that is not whole."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
