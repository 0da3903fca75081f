"""Which rung of joint training fits the memory and time at hand: a table from measured figures. Knows no model.

full      all edges in every step
every     all edges in every k-th step, separate losses in the others
cached    hypotheses and their likelihoods stored once; then one model after the other, coupled by data alone
staged    one model after the other, the voice first; the language model reads text only
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Rung: TypeAlias = Literal["full", "every", "cached", "staged"]
RUNGS: tuple[Rung, ...] = ("full", "every", "cached", "staged")


@dataclass(frozen=True, slots=True)
class Measured:
    """What the dry run found; bytes and seconds."""

    joint_memory: int
    """Peak of a step with all edges, all models resident."""
    alone_memory: int
    """The largest of the three models trained alone."""
    joint_seconds: float
    """A step with all edges."""
    separate_seconds: float
    """A step of the three separate losses, one after the other."""
    caching_seconds: float
    """All hypotheses once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What there is; 0 is no limit."""

    memory: int
    seconds: float
    steps: int
    every: int = 4
    """The k of `every`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A rung, and why."""

    rung: Rung
    memory: int
    seconds: float
    reasons: tuple[str, ...]
    """One of each rung above that was passed over, and one of this."""


def cost(rung: Rung, measured: Measured, limits: Limits) -> tuple[int, float]:
    """Bytes and seconds that a rung takes."""
    joint, separate = measured.joint_seconds, measured.separate_seconds
    if rung == "full":
        return measured.joint_memory, limits.steps * joint
    if rung == "every":
        with_edges = -(-limits.steps // limits.every)
        return measured.joint_memory, with_edges * joint + (limits.steps - with_edges) * separate
    if rung == "cached":
        return measured.alone_memory, limits.steps * separate + measured.caching_seconds
    return measured.alone_memory, limits.steps * separate


def choose(measured: Measured, limits: Limits, forced: Rung | None = None) -> Choice:
    """The first rung that fits, or the forced one; the last one where none does, which the reasons say."""
    reasons: list[str] = []
    for rung in RUNGS:
        memory, seconds = cost(rung, measured, limits)
        missing = _missing(memory, seconds, limits)
        if forced == rung or (forced is None and not missing):
            why = "asked for" if forced else "fits"
            reasons.append(f"{rung}: {why}" + (f", though it takes {missing}" if missing else ""))
            return Choice(rung, memory, seconds, tuple(reasons))
        if forced is None:
            reasons.append(f"{rung}: takes {missing}")
    return Choice(rung, memory, seconds, (*reasons, f"{rung}: taken all the same, there is no lower one"))


def show(choice: Choice) -> str:
    """The choice for a person."""
    lines = [f"rung       {choice.rung}, {choice.memory / 1e9:.2f} GB and {choice.seconds / 60:.1f} minutes of steps"]
    return "\n".join([*lines, *(f"           {reason}" for reason in choice.reasons)])


def _missing(memory: int, seconds: float, limits: Limits) -> str:
    found = []
    if limits.memory and memory > limits.memory:
        found.append(f"{memory / 1e9:.2f} GB where there are {limits.memory / 1e9:.2f}")
    if limits.seconds and seconds > limits.seconds:
        found.append(f"{seconds / 60:.1f} minutes where there are {limits.seconds / 60:.1f}")
    return " and ".join(found)
