"""An arm of a comparison as a configuration of the joint recipe with budgets. Knows no process and no figure.

base        the base as it is
separate    each model by itself
shared      the same, but models share recordings
noisy       then the language model reads what the recognizer heard
joint       then all three, through the edges; and the same without one of them
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from finetune.compare.config import WITHOUT, Config
from finetune.joint.edges import Edge
from finetune.loop import Training
from finetune.recipes import joint_config

FIRST = "first"
"""The first stage of all joint arms, trained once for each seed."""


def is_joint(arm: str) -> bool:
    """Whether it begins with FIRST."""
    return arm == "joint" or arm.startswith(WITHOUT)


def later_stages(arm: str) -> tuple[str, ...]:
    """After the first one."""
    return ("noisy",) if arm == "noisy" else ("noisy", "joint", "finish") if is_joint(arm) else ()


def recipe(config: Config, arm: str, size: str, seed: int, run: Path) -> joint_config.Config:
    """The joint recipe's configuration of an arm in a run folder. All budgets together are `seconds`, but for FIRST."""
    budgets = seconds_of(config, "joint" if arm == FIRST else arm)
    stages = () if arm == FIRST else later_stages(arm)
    joint, data, unpaired = config.joint, config.sizes[size], config.unpaired(size)

    def given(training: Training, stage: str) -> Training:
        return dataclasses.replace(training, budget_seconds=budgets[stage], seed=seed)

    def learning(own: Any, stage: str) -> Any:
        return dataclasses.replace(own, run=stage, data=getattr(data, stage), training=given(own.training, stage))

    def later(stage: str) -> Training | None:
        own = getattr(joint, stage)
        return given(own, stage) if own and stage in stages else None

    voice = learning(joint.voice, "voice")
    return dataclasses.replace(
        joint,
        run=str(run),
        recognizer=learning(joint.recognizer, "recognizer"),
        language=learning(joint.language, "language"),
        voice=dataclasses.replace(voice, vocoder=given(voice.vocoder, "vocoder")),
        voice_clips=joint.voice_clips and arm != "separate",
        recognizer_clips=joint.recognizer_clips and arm != "separate",
        rung="staged" if not stages else "every" if joint.rung == "every" else "full",
        edges=_edges(joint.edges if unpaired else dataclasses.replace(joint.edges, unpaired=Edge()), arm),
        unpaired=unpaired,
        noisy=later("noisy"),
        joint=later("joint"),
        finish=later("finish"),
    )


def seconds_of(config: Config, arm: str) -> dict[str, float]:
    """Budget of each training of an arm, together `seconds`."""
    shares = dataclasses.asdict(config.shares)
    later = {stage: shares[stage] for stage in later_stages(arm) if getattr(config.joint, stage)}
    left = 1 - sum(later.values())
    first = {stage: left * shares[stage] for stage in ("recognizer", "language", "vocoder", "voice")}
    return {stage: config.seconds * share for stage, share in (first | later).items()}


def _edges(edges: joint_config.Edges, arm: str) -> joint_config.Edges:
    if not arm.startswith(WITHOUT):
        return edges
    name = arm.removeprefix(WITHOUT)
    off: dict[str, Any] = {name: 0.0 if name == "agreement" else Edge()}
    if name == "transcript":
        off["agreement"] = 0.0  # it is of the replies after the transcript
    return dataclasses.replace(edges, **off)
