"""A comparison as Markdown, as a picture, and as one HTML page that needs no other file. Knows no cells."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from finetune.compare.results import METRICS, Figure, Metric, Row, name_of
from finetune.data.page import document

DRAWN = ("reply_accuracy", "wer", "round_trip_cer")


def heads(rows: Sequence[Row]) -> list[str]:
    """Of the table: metrics that any row has."""
    shown = [METRICS[name] for name in METRICS if any(name in row.figures for row in rows)]
    titles = [f"{metric.title}, {'%' if metric.unit == 'percent' else metric.unit}" for metric in shown]
    return ["data", "arm", "seeds", *titles, "worst slice, WER %", "first audio, ms", "trained, s"]


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """The table's rows; below a figure what it differs from the control's, with its interval."""
    names = [name for name in METRICS if any(name in row.figures for row in rows)]
    return [
        [
            row.size, name_of(row.arm), str(len(row.seeds)),
            *(told(METRICS[name], row.figures[name]) if name in row.figures else "not measured" for name in names),
            f"{100 * row.worst[1].value:.1f} ({row.worst[0]})" if row.worst else "not measured",
            f"{row.first_audio_ms[0]:.0f}" if row.first_audio_ms else "not measured", f"{row.seconds:.0f}",
        ]
        for row in rows
    ]  # fmt: skip


def told(metric: Metric, figure: Figure) -> str:
    """A figure, and its difference to the control's."""
    factor, form = (100, ".1f") if metric.unit == "percent" else (1, ".2f")
    value = f"{factor * figure.rate.value:{form}}"
    if figure.change is None:
        return value
    low, high = (factor * end for end in (figure.change.low, figure.change.high))
    return f"{value} ({factor * figure.change.value:+{form}} [{low:{form}}, {high:{form}}])"


def markdown(rows: Sequence[Row]) -> str:
    """The table for documents."""
    head = heads(rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines(rows)])


def page(sentence: str, facts: Mapping[str, str], rows: Sequence[Row], missing: Sequence[str]) -> str:
    """HTML."""
    parts = ["<h1>Comparison of adaptations</h1>", f"<p><strong>{escape(sentence)}</strong></p>"]
    parts.append("<table>" + "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items()))
    parts.append("</table><h2>Figures</h2><table><tr>")
    parts += [f"<th>{escape(head)}</th>" for head in heads(rows)]
    for line in lines(rows):
        parts.append("</tr><tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line))
    parts.append(
        "</tr></table><p>In brackets: less the figure of separate + shared data, on the same items of the same seeds, "
        "and its 95 % interval by speaker, or by item where there are no two.</p>"
    )
    parts += [f"<p>Not measured: {escape(one)}.</p>" for one in missing]
    data = base64.b64encode(picture(rows)).decode()
    return document("Comparison of adaptations", parts, {"Figures": f"data:image/svg+xml;base64,{data}"}, {})


def picture(rows: Sequence[Row]) -> bytes:
    """SVG: a panel a metric, a colour a size, arms below one another, each with its interval; dots are seeds."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure as Canvas  # not pyplot: it keeps every figure

    arms = list(dict.fromkeys(row.arm for row in rows))
    sizes = list(dict.fromkeys(row.size for row in rows))
    names = [name for name in DRAWN if any(name in row.figures for row in rows)]
    with matplotlib.rc_context({"svg.hashsalt": "parley", "font.size": 9}):
        canvas = Canvas(figsize=(3.6 * max(1, len(names)) + 1.2, 1.2 + 0.45 * len(arms)), layout="constrained")
        panels: Any = canvas.subplots(1, max(1, len(names)), squeeze=False, sharey=True)[0]
        for panel, name in zip(panels, names, strict=False):
            for number, size in enumerate(sizes):
                _points(panel, [row for row in rows if row.size == size and name in row.figures], name, arms, number)
            panel.set_xlabel(f"{METRICS[name].title}, %")
            panel.set_yticks(range(len(arms)), [name_of(arm) for arm in arms])
            panel.grid(axis="x", alpha=0.3)
            panel.set_xlim(left=0)
        if names:
            panels[0].invert_yaxis()
            panels[-1].legend(frameon=False)
        out = io.BytesIO()
        canvas.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _points(panel: Any, rows: Sequence[Row], name: str, arms: Sequence[str], number: int) -> None:
    places = [arms.index(row.arm) + 0.22 * number - 0.11 for row in rows]
    rates = [row.figures[name].rate for row in rows]
    values = [100 * one.value for one in rates]
    ends = [[100 * (one.value - one.low) for one in rates], [100 * (one.high - one.value) for one in rates]]
    label = rows[0].size if rows else ""
    panel.errorbar(values, places, xerr=ends, fmt="o", color=f"C{number}", capsize=2, label=label)
    for place, row in zip(places, rows, strict=True):
        seeds = [100 * value for value in row.figures[name].by_seed.values()]
        panel.plot(seeds, [place] * len(seeds), ".", color=f"C{number}", alpha=0.35, markersize=4)
