"""A report as a chart: one panel a unit, one line a figure. Knows no bench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.bench.report import Report

X = "callers"
UNITS = {
    "per_s": "per second",
    "ms": "milliseconds",
    "percent": "percent",
    "mib": "MiB",
    "s": "seconds",
    "rtf": "real-time factor",
}
"""The end of a figure's name -> the label of its axis; other figures are counts."""
CROWDED = 8  # bars in groups: their names then stand upright, below a larger picture
CONFIGURED = ("cpu", "cores", "gpu", "pack", "device", "commit")
"""What of the configuration the picture says."""


def draw(report: Report, path: Path) -> None:
    """Writes an SVG: figures over the number of callers, or as bars where all rows have the same number."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    panels = _panels(report)
    if not panels:
        return
    # No date and fixed ids: the same figures make the same file.
    with matplotlib.rc_context({"svg.hashsalt": "parley", "font.size": 9, "axes.spines.top": False}):
        wide, high = (7.0, 6.0) if len(report.rows) > CROWDED else (4.4, 3.6)
        figure = Figure(figsize=(wide * len(panels), high), layout="constrained")
        for axes, (unit, figures) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            axes.spines["right"].set_visible(False)
            axes.set_ylabel(UNITS.get(unit, "count"))
            if len({row.get(X) for row in report.rows}) > 1:
                _lines(axes, report, figures)
            else:
                _bars(axes, report, figures)
            axes.set_ylim(0, 105 if unit == "percent" else 1.05 * max(1e-9, axes.get_ylim()[1]))
            axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
        about = ", ".join(f"{key} {report.configuration[key]}" for key in CONFIGURED if key in report.configuration)
        figure.suptitle(f"parley bench {report.bench}\n{about}", fontsize=9)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panels(report: Report) -> list[tuple[str, list[str]]]:
    """Unit and figures of each panel."""
    panels: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in report.rows for name in row):
        numeric = all(isinstance(row.get(name, 0), int | float) for row in report.rows)
        if name != X and numeric and (not report.drawn or name in report.drawn):
            panels.setdefault(_unit(name), []).append(name)
    return list(panels.items())


def _unit(name: str) -> str:
    return next((unit for unit in UNITS if name == unit or name.endswith(f"_{unit}")), "")


def _label(name: str, condition: str) -> str:
    words = name.removesuffix(f"_{_unit(name)}").replace("_", " ")
    return f"{condition}: {words}" if condition else words


def _conditions(report: Report) -> list[str]:
    """Of each row, what its text says: the engine, for instance."""
    return [", ".join(str(value) for value in row.values() if isinstance(value, str)) for row in report.rows]


def _lines(axes: Any, report: Report, figures: Sequence[str]) -> None:
    conditions = _conditions(report)
    for condition in dict.fromkeys(conditions):
        rows = [row for row, its in zip(report.rows, conditions, strict=True) if its == condition]
        for name in figures:
            points = sorted((float(row[X]), float(row[name])) for row in rows if name in row and X in row)
            axes.plot(*zip(*points, strict=True), marker="o", label=_label(name, condition)) if points else None
    counts = sorted({int(row[X]) for row in report.rows if X in row})
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("callers at once")


def _bars(axes: Any, report: Report, figures: Sequence[str]) -> None:
    conditions = _conditions(report)
    width = 0.8 / len(figures)
    for number, name in enumerate(figures):
        places = [index + (number + 0.5) * width - 0.4 for index in range(len(report.rows))]
        bars = axes.bar(places, [float(row.get(name, 0)) for row in report.rows], width, label=_label(name, ""))
        axes.bar_label(bars, fmt="%.3g", fontsize=7)
    crowded = len(report.rows) > CROWDED
    axes.set_xticks(range(len(report.rows)), conditions, rotation=90 if crowded else 0, fontsize=6 if crowded else None)
