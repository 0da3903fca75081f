"""Which rung of the ladder a joint run takes: a few steps measured, with edges and without. Knows no stage."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from finetune import checkpoint, processes, shards
from finetune.dry_run import Estimate
from finetune.joint import loop
from finetune.joint.ladder import Choice, Limits, Measured, choose
from finetune.joint.turns import Losses, evenly
from finetune.loop import Training
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_losses import EDGES, Step
from finetune.recipes.joint_parts import Parts, models_of
from finetune.recipes.joint_pseudo_labels import on_trial
from finetune.recipes.joint_together import MODELS
from finetune.recipes.joint_unpaired import Recordings

WEIGHT_BYTES = 4
STATE_BYTES = 3 * WEIGHT_BYTES
"""Of a trained weight besides itself: its gradient and AdamW's two moments."""


def choice_of(config: Config, measured: Measured) -> Choice:
    """The rung that is asked for, or else the first one that fits."""
    limits = Limits(
        round(config.limits.memory_gb * 1e9), config.limits.minutes * 60, stage_of(config).steps, config.every
    )
    return choose(processes.agreed(measured), limits, None if config.rung == "auto" else config.rung)


def measure(config: Config, parts: Parts, found: Recordings | None) -> tuple[Measured, Estimate]:
    """A few steps without edges, then with all that are switched on, of which the second figure is, and what is heard
    of one batch. The models are as they were afterwards."""
    training, models = stage_of(config), models_of(parts)
    if found:
        parts = dataclasses.replace(parts, unpaired=on_trial(found, parts.recognizer, parts.texts, config.rows))
    kept = checkpoint.weights(models)
    estimates = {}
    for name, edges in (("separate", ()), ("joint", EDGES)):
        step = Step(parts, separate=MODELS, edges=edges)
        losses = evenly(parts.language.model, step.losses)
        last = partial(_at, losses, training.steps)  # when the schedules of all edges have come to their end
        task = loop.Task(models, step.batch, last, step.crossings, step.dev if edges else dict, {})
        estimates[name] = loop.estimate(task, training)
    began = time.perf_counter()
    pairs = parts.pairs.batch(0)
    step.heard(pairs)
    seconds_a_pair = (time.perf_counter() - began) / len(pairs)
    checkpoint.restore_weights(models, kept, "the weights before the rung was measured")
    sizes = sorted(state_bytes(model) for model in models.values())
    memory = estimates["joint"].memory
    measured = Measured(
        joint_memory=memory,
        alone_memory=max(memory - sum(sizes[:-1]), sizes[-1]),  # as if the others' weights and states were not there
        joint_seconds=estimates["joint"].seconds_a_step,
        separate_seconds=estimates["separate"].seconds_a_step,
        caching_seconds=seconds_a_pair * len(parts.pairs.all),
    )
    return measured, estimates["joint"]


def stage_of(config: Config) -> Training:
    """The stage by whose steps the rung is chosen."""
    return config.joint or config.finish or config.noisy or config.recognizer.training


def state_bytes(model: nn.Module) -> int:
    """Weights, gradients and moments."""
    parameters = [shards.held(parameter) for parameter in model.parameters()]
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return sum(p.numel() * p.element_size() for p in parameters) + STATE_BYTES * trained


def _at(losses: Losses, number: int, _: int, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
    return losses(number, batch)
