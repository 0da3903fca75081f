"""What a recipe's run folder says of itself: measurements, how far it is, the best weights. Reads files, changes none.

RUN/metrics.jsonl has a line a measurement, RUN/best/step-000040.pt weights, RUN/facts.json the configuration. A recipe
that trains one network after the other has a folder with such files for each.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
RESULTS = ("config.yaml", "facts.json", METRICS, "curves.svg", "evaluation.json")
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
        total = _steps(part, run, stage)
        for line in _text(part / METRICS).splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break  # it is being written
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                named = {"stage": stage} if stage else {}
                found.append({**named, "step": row["step"], "total_steps": total, **row})
    return found


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
    """Until training ends, by its own pace so far; export is not counted. None where that cannot be said."""
    if not measured or not (last := measured[-1]).get("total_steps") or not last.get("seconds"):
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
    for part, _ in _parts(run):
        found += [path for name in RESULTS if (path := part / name).is_file()]
    return [*found, *sorted(run.glob("*.html"))]


def _parts(run: Path) -> list[tuple[Path, str]]:
    """The run and the runs inside of it, in the order in which they began."""
    inner = [path.parent for path in run.glob(f"*/{METRICS}")]
    inner.sort(key=lambda part: (part / "config.yaml").stat().st_mtime if (part / "config.yaml").is_file() else 0.0)
    return [(run, ""), *((part, part.name) for part in inner)]


def _steps(part: Path, run: Path, stage: str) -> int | None:
    """How many steps the configuration asks for: the part's own, or its section of the whole run's."""
    for folder in (part, run):
        try:
            configuration = json.loads(_text(folder / "facts.json") or "{}").get("configuration", {})
        except ValueError:
            continue
        sections = (stage, "training") if stage else ("training",)
        for section in sections:
            values = configuration.get(section)
            if isinstance(values, dict) and isinstance(values.get("steps"), int):
                return int(values["steps"])
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
