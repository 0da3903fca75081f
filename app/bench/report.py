"""What a bench found: figures with the configuration that they belong to. Knows no bench and no service."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

from app import REPOSITORY

Cell: TypeAlias = str | int | float

LIBRARIES = ("ctranslate2", "onnxruntime", "faster-whisper", "numpy", "torch", "coqui-tts", "vllm")
"""Whose versions change the figures."""


@dataclass(frozen=True, slots=True)
class Report:
    """One bench's figures."""

    bench: str
    """Its name on the command line."""
    configuration: Mapping[str, Cell]
    """What was measured: pack, engine, threads; `command.py` adds the machine."""
    rows: Sequence[Mapping[str, Cell]]
    """One a measured condition. The unit ends a figure's name: `_ms`, `_s`, `_per_s`, `_percent`, `_mib`."""
    notes: Sequence[str] = ()
    """What a reader has to know to read the figures, and aims met or missed."""
    drawn: Sequence[str] = ()
    """The figures that the picture shows; empty: all."""
    failures: Sequence[str] = ()
    """What was asked for and did not come: such a bench has failed, whatever its figures."""


def machine() -> dict[str, Cell]:
    """This machine and these versions. `load` is of the minute before: on a busy machine, latencies say little."""
    found: dict[str, Cell] = {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "commit": _commit(),
    }
    if gpus := _said(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]):
        found["gpu"] = ", ".join(gpus.splitlines())
    for library in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def show(report: Report) -> str:
    """A plain table, with the configuration above and the notes below."""
    lines = [f"parley bench {report.bench}"]
    lines += [f"  {key}: {value}" for key, value in report.configuration.items()]
    lines += ["", *table(report.rows)]
    return "\n".join([*lines, *([""] if report.notes else []), *report.notes])


def table(rows: Sequence[Mapping[str, Cell]]) -> list[str]:
    """Aligned lines: a condition a line, or a figure a line where there are more figures than conditions."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([written(row.get(column, "")) for column in columns] for row in rows)]
    if len(columns) > len(rows):
        cells = [list(line) for line in zip(*cells, strict=True)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in cells
    ]


def written(value: Cell) -> str:
    """A figure with as many digits as say something."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def save(report: Report, folder: Path) -> Path:
    """Writes NAME.json and its picture NAME.svg into `folder`; returns the JSON's path."""
    from app.bench.picture import draw

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.bench}.json"
    path.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    draw(report, path.with_suffix(".svg"))
    return path


def load(path: Path) -> Report:
    """What `save` wrote."""
    return Report(**json.loads(path.read_text(encoding="utf-8")))


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """Of the checkout, with `-dirty` where files have changed since; `unknown` for an installation without one."""
    return _said(["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--exclude=*"]) or "unknown"


def _said(command: Sequence[str]) -> str:
    """What a program prints; empty where it is missing or fails."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return ""
