"""Pictures of a dataset, as SVG within a page: durations, speaking rates, levels, sample rates, speakers."""

from __future__ import annotations

import base64
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.data.faults import speaking_rate
from finetune.data.measured import Measurement
from finetune.data.rows import SPLITS, Utterance

MOST_SPEAKERS = 20
"""Bars; the rest is one."""


def plots(rows: Sequence[Utterance], measurements: Sequence[Measurement]) -> dict[str, str]:
    """Title -> data URI of a picture."""
    heard = [(row, sound) for row, sound in zip(rows, measurements, strict=True) if not sound.fault]
    rates = [rate for row, sound in heard if (rate := speaking_rate(row, sound)) is not None]
    return {
        "Duration, seconds": _histogram([sound.seconds for _, sound in heard]),
        "Speaking rate, letters a second": _histogram(rates),
        "Level, dB of full scale": _histogram([sound.level_db for _, sound in heard]),
        "Sample rate, Hz": _bars({str(rate): n for rate, n in sorted(Counter(s.rate for _, s in heard).items())}),
        "Minutes by speaker": _bars(_minutes_by_speaker(heard)),
        "Minutes by split": _bars(_minutes_by_split(heard)),
    }


def _minutes_by_speaker(heard: Sequence[tuple[Utterance, Measurement]]) -> dict[str, float]:
    minutes: defaultdict[str, float] = defaultdict(float)
    for row, sound in heard:
        minutes[row.speaker[:16] or "(none)"] += sound.seconds / 60
    first = dict(sorted(minutes.items(), key=lambda item: -item[1])[:MOST_SPEAKERS])
    rest = sum(minutes.values()) - sum(first.values())
    return first | ({f"{len(minutes) - MOST_SPEAKERS} more": rest} if len(minutes) > MOST_SPEAKERS else {})


def _minutes_by_split(heard: Sequence[tuple[Utterance, Measurement]]) -> dict[str, float]:
    minutes = {name: sum(sound.seconds for row, sound in heard if row.split == name) / 60 for name in (*SPLITS, "")}
    return {name or "(none)": value for name, value in minutes.items() if value}


def _histogram(values: Sequence[float]) -> str:
    figure, axes = _axes()
    axes.hist(values, bins=40, color="#2a6f97")
    return _uri(figure)


def _bars(values: Mapping[str, float]) -> str:
    figure, axes = _axes()
    axes.bar(list(values), list(values.values()), color="#2a6f97")
    if sum(map(len, values)) > 40:  # characters that fit beside each other
        axes.tick_params(axis="x", labelrotation=90)
    return _uri(figure)


def _axes() -> tuple[Any, Any]:  # matplotlib has no types
    from matplotlib.figure import Figure  # not pyplot: it keeps every figure, and looks for a screen

    figure = Figure(figsize=(4.2, 2.6), layout="constrained")
    return figure, figure.subplots()


def _uri(figure: Any) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(out.getvalue()).decode()}"
