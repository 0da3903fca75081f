"""The page of an evaluation: one HTML file that needs no other, with figures, plots of the slices and players."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from finetune.data.page import Player, document
from finetune.evaluate.figures import Slice

MOST_BARS = 25
"""Of one picture: the worst ones."""


def page(
    title: str,
    facts: Mapping[str, str],
    rows: Sequence[dict[str, Any]],
    slices: Sequence[Slice],
    missing: Sequence[tuple[str, str]],
    groups: Mapping[str, Sequence[Player]],
) -> str:
    """HTML. `groups`: players under a heading."""
    parts = [f"<h1>{escape(title)}</h1>", _table([], [[name, value] for name, value in facts.items()])]
    failed = [row for row in rows if row["passed"] is False]
    parts.append("<h2>Gates</h2>")
    parts += [
        f'<p class="fault">missed: {escape(row["part"])}, {escape(row["metric"])}: {row["value"]:g}</p>'
        for row in failed
    ]
    if not failed:
        gated = sum(row["passed"] is True for row in rows)
        parts.append(
            f"<p>{gated} met, none missed.</p>" if gated else "<p>None: gates need a pack to compare with.</p>"
        )
    parts.append("<h2>Figures</h2>")
    parts.append(_table(["part", "what", "value", "95 % interval", "n", "gate", "note"], [_cells(row) for row in rows]))
    parts += [f"<p>Not measured: {escape(what)}: {escape(why)}.</p>" for what, why in missing]
    parts.append("<h2>Slices</h2>" if slices else "<h2>Slices</h2><p>All clips are alike.</p>")
    return document(title, parts, pictures(slices), groups)


def pictures(slices: Sequence[Slice]) -> dict[str, str]:
    """Title -> data URI: error rates by value of each dimension, with their intervals."""
    grouped: defaultdict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        grouped[f"{one.metric.upper()} {one.language} by {one.name.partition(':')[0]}"].append(one)
    return {
        title: _bars(sorted(found, key=lambda one: -one.rate.value)[:MOST_BARS]) for title, found in grouped.items()
    }


def _bars(slices: Sequence[Slice]) -> str:
    from matplotlib.figure import Figure  # not pyplot: it keeps every figure, and looks for a screen

    figure = Figure(figsize=(4.6, 1.0 + 0.28 * len(slices)), layout="constrained")
    axes: Any = figure.subplots()  # matplotlib has no types
    names = [f"{one.name.partition(': ')[2][:24]} (n {one.rate.n})" for one in slices]
    values = [one.rate.value for one in slices]
    below = [max(0.0, one.rate.value - one.rate.low) for one in slices]
    above = [max(0.0, one.rate.high - one.rate.value) for one in slices]
    axes.barh(names, values, xerr=[below, above], color="#2a6f97", ecolor="#888", capsize=3)
    axes.invert_yaxis()
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}"


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["interval"]
    gate = (
        f"{row['gate']['op']} {row['gate']['value']:g}, {'met' if row['passed'] else 'missed'}" if row["gate"] else ""
    )
    value, n = f"{row['value']:g} {row['unit']}", f"{row['n']} {row['n_unit']}"
    return [row["part"], row["metric"], value, f"{low:g} to {high:g}", n, gate, row["note"]]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>" if heads else f"<table>{body}</table>"
