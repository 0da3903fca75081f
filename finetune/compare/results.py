"""What cells add up to: figures of each arm, differences paired by speaker, and which arm to ship. Knows no files.

Seeds are pooled: an item of every seed counts, and whoever speaks is drawn with all that was heard of them in all
seeds; where one person speaks, or nobody is known, an item is drawn with what became of it in all seeds. What the seeds
themselves vary is in no interval, so a win must also be one in each seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from finetune.evaluate.figures import LEAST_OF_A_SLICE
from finetune.evaluate.rates import Rate, Score, by_slice, difference, quantile, rate

Cell = Mapping[str, Any]
CONTROL: Final = "shared"
"""What joint training has to beat: the same data, no gradients across."""
MAIN: Final = "reply_accuracy"
DECLINES: Final = ("wer", "round_trip_cer", "old_wer")
"""What may not get worse, where joint training ships."""
NAMES: Final = {
    "base": "base", "separate": "separate", "shared": "separate + shared data", "noisy": "+ noisy transcripts",
    "joint": "joint",
}  # fmt: skip
SIMPLE: Final = ("base", "separate", "shared", "noisy")
"""From the simplest on."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a cell's items."""

    title: str
    unit: str
    """percent, or nats a token."""
    is_gain: bool
    """More of it is better."""
    scores: Callable[[Cell], list[Score]]


def _heard(name: str) -> Callable[[Cell], list[Score]]:
    return lambda cell: [Score(one["errors"], one["count"], one["speaker"], one["slices"]) for one in cell[name]]


METRICS: Final[Mapping[str, Metric]] = {
    MAIN: Metric(
        "right replies", "percent", True, lambda cell: [Score(r["right"], 1, r["speaker"]) for r in cell["replies"]]
    ),
    "reply_nll": Metric(
        "NLL of the right reply", "nats a token", False,
        lambda cell: [Score(r["nats"], r["tokens"], r["speaker"]) for r in cell["replies"] if r["nats"] is not None],
    ),
    "wer": Metric("WER", "percent", False, _heard("clips")),
    "round_trip_cer": Metric(
        "round-trip CER", "percent", False, lambda cell: [Score(v["errors"], v["count"]) for v in cell["voice"]]
    ),
    "old_wer": Metric("WER of the old language", "percent", False, _heard("old")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric of one arm at one size."""

    rate: Rate
    change: Rate | None
    """Less that of the control, over the seeds that both have; None: the control itself, or nothing to pair."""
    by_seed: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One arm at one size."""

    size: str
    arm: str
    seeds: tuple[int, ...]
    figures: Mapping[str, Figure]
    worst: tuple[str, Rate] | None
    """The slice with the highest WER; None: none is large enough."""
    first_audio_ms: tuple[float, float, float] | None
    """Median with its interval; None: nothing was audible."""
    seconds: float
    """Trained, mean of the seeds."""


def rows(cells: Sequence[Cell], size: str, arms: Sequence[str]) -> list[Row]:
    """A row for each arm of a size that has cells; the base's cell counts for every size and seed."""
    found = []
    for arm in arms:
        own = of_arm(cells, size, arm)
        if not own:
            continue
        figures = {}
        for name, metric in METRICS.items():
            items = pooled([metric.scores(cell) for cell in own.values()])
            if items:
                seeds = {seed: _value(metric.scores(cell)) for seed, cell in own.items()}
                figures[name] = Figure(rate(items), change(cells, size, arm, CONTROL, name), seeds)
        waits = [ms for cell in own.values() for ms in cell["first_audio_ms"]]
        seconds = [sum(cell.get("seconds", {}).values()) for cell in own.values()]
        found.append(
            Row(
                size, arm, tuple(own), figures, _worst(own), quantile(waits, 0.5) if waits else None,
                sum(seconds) / len(seconds),
            )
        )  # fmt: skip
    return found


def pooled(seeds: Sequence[Sequence[Score]]) -> list[Score]:
    """The items of all seeds, each with whom, or what, it is drawn with."""
    if len({score.speaker for scores in seeds for score in scores if score.speaker}) > 1:
        return [score for scores in seeds for score in scores]
    return [replace(score, speaker=f"item {place}") for scores in seeds for place, score in enumerate(scores)]


def of_arm(cells: Sequence[Cell], size: str, arm: str) -> dict[int, Cell]:
    """By seed."""
    if arm == "base":
        return {cell["seed"]: cell for cell in cells if cell["arm"] == "base"}
    return {cell["seed"]: cell for cell in cells if (cell["size"], cell["arm"]) == (size, arm)}


def change(cells: Sequence[Cell], size: str, arm: str, other: str, name: str) -> Rate | None:
    """A metric of one arm less that of another, on the same items of the same seeds; None: there is nothing to pair."""
    pairs = _pairs(cells, size, arm, other, name)
    mine, theirs = (pooled([pair[i] for pair in pairs.values()]) for i in (0, 1))
    if arm == other or not mine or [one.count for one in mine] != [one.count for one in theirs]:
        return None
    return difference(mine, theirs)


def beats(cells: Sequence[Cell], size: str, arm: str, other: str) -> bool:
    """Whether its right replies are more with their interval, and in each seed."""
    found = change(cells, size, arm, other, MAIN)
    if found is None or found.low <= 0:
        return False
    return all(_value(mine) > _value(theirs) for mine, theirs in _pairs(cells, size, arm, other, MAIN).values())


def declines(cells: Sequence[Cell], size: str, arm: str, other: str) -> list[str]:
    """What is worse with its interval, in words."""
    found = []
    for name in DECLINES:
        changed = change(cells, size, arm, other, name)
        if changed is not None and changed.low > 0:
            found.append(f"{METRICS[name].title} {points(changed)}")
    return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Which arm to ship at a size."""

    size: str
    arm: str
    why: str


def choose(cells: Sequence[Cell], size: str, arms: Sequence[str]) -> Choice | None:
    """Joint where it beats the control, and what ships without it, and is worse in nothing else; else the simplest arm
    that no less simple one beats. None: the control or joint was not measured."""
    there = [arm for arm in arms if of_arm(cells, size, arm)]
    if CONTROL not in there or "joint" not in there:
        return None
    plain = [arm for arm in SIMPLE if arm in there]
    best = plain[0]
    if not any(_value(METRICS[MAIN].scores(cell)) for arm in there for cell in of_arm(cells, size, arm).values()):
        return Choice(size, best, "no arm has a right reply, so give them more seconds or data")
    for arm in plain[1:]:
        best = arm if beats(cells, size, arm, best) else best
    against = change(cells, size, "joint", CONTROL, MAIN)
    told = f"{points(against)} right replies" if against else "not comparable"
    worse = declines(cells, size, "joint", CONTROL)
    if all(beats(cells, size, "joint", other) for other in {CONTROL, best}) and not worse:
        return Choice(size, "joint", f"it beats {NAMES[CONTROL]}: {told}")
    return Choice(
        size, best, f"joint did not beat {NAMES[CONTROL]}: {told}" + (f", {' and '.join(worse)}" if worse else "")
    )


def sentence(choices: Sequence[Choice]) -> str:
    """The one that says what to ship."""
    if not choices:
        return f"Nothing can be said yet: {NAMES[CONTROL]} and joint were not both measured."
    if len({choice.arm for choice in choices}) == 1:
        reasons = "; ".join(f"{choice.size}: {choice.why}" for choice in choices)
        return f"Ship {name_of(choices[0].arm)} ({reasons})."
    return "; ".join(f"{choice.size} data: ship {name_of(choice.arm)} ({choice.why})" for choice in choices) + "."


def name_of(arm: str) -> str:
    """For people."""
    return NAMES.get(arm, arm.replace("-", " ").replace("_", " "))


def points(change: Rate) -> str:
    """A difference of two shares in percentage points."""
    return f"{100 * change.value:+.1f} points [{100 * change.low:.1f}, {100 * change.high:.1f}]"


def _pairs(
    cells: Sequence[Cell], size: str, arm: str, other: str, name: str
) -> dict[int, tuple[list[Score], list[Score]]]:
    """By seed; a base has one cell, which stands beside every seed."""
    mine, theirs = of_arm(cells, size, arm), of_arm(cells, size, other)
    one = next(iter(mine.values()), None) if arm == "base" else None
    two = next(iter(theirs.values()), None) if other == "base" else None
    seeds = theirs if arm == "base" else mine if other == "base" else [seed for seed in mine if seed in theirs]
    scored = METRICS[name].scores
    return {seed: (scored(one or mine[seed]), scored(two or theirs[seed])) for seed in seeds}


def _value(scores: Sequence[Score]) -> float:
    return sum(score.errors for score in scores) / max(1e-9, sum(score.count for score in scores))


def _worst(own: Mapping[int, Cell]) -> tuple[str, Rate] | None:
    scores = [score for cell in own.values() for score in METRICS["wer"].scores(cell)]
    slices = {name: [scores[i] for i in places] for name, places in by_slice(scores).items()}
    large = {name: part for name, part in slices.items() if sum(one.count for one in part) >= LEAST_OF_A_SLICE}
    if not large:
        return None
    name = max(large, key=lambda name: _value(large[name]))
    return name, rate(large[name])
