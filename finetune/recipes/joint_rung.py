"""Which rung of the ladder a joint run takes: a few steps measured, with edges and without. Knows no stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from finetune import checkpoint
from finetune.joint import loop
from finetune.joint.ladder import Choice, Limits, Measured, choose
from finetune.loop import Training
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_losses import EDGES, Step
from finetune.recipes.joint_parts import Parts, models_of

WEIGHT_BYTES = 4
STATE_BYTES = 3 * WEIGHT_BYTES
"""Of a trained weight besides itself: its gradient and AdamW's two moments."""


def choice_of(config: Config, parts: Parts) -> Choice:
    """Measures and chooses; the models are as they were afterwards."""
    training = config.joint or config.finish or config.noisy or config.recognizer.training
    models = models_of(parts)
    kept = checkpoint.weights(models)
    measured = measure(parts, models, training)
    checkpoint.restore_weights(models, kept, "the weights before the rung was measured")
    limits = Limits(round(config.limits.memory_gb * 1e9), config.limits.minutes * 60, training.steps, config.every)
    return choose(measured, limits)


def measure(parts: Parts, models: nn.ModuleDict, training: Training) -> Measured:
    """A few steps without edges, then with all that are switched on, and what is heard of one batch."""
    found = {}
    for name, edges in (("separate", ()), ("joint", EDGES)):
        step = Step(parts, separate=("recognizer", "language", "voice"), edges=edges)
        last = partial(_at, step, training.steps)  # when the schedules of all edges have come to their end
        task = loop.Task(models, step.batch, last, step.crossings, dict, {})
        found[name] = loop.estimate(task, training)
    began = time.perf_counter()
    pairs = parts.pairs.batch(0)
    step.heard(pairs)
    seconds_a_pair = (time.perf_counter() - began) / len(pairs)
    sizes = sorted(state_bytes(model) for model in models.values())
    memory = found["joint"].memory
    return Measured(
        joint_memory=memory,
        alone_memory=max(memory - sum(sizes[:-1]), sizes[-1]),  # as if the others' weights and states were not there
        joint_seconds=found["joint"].seconds_a_step,
        separate_seconds=found["separate"].seconds_a_step,
        caching_seconds=seconds_a_pair * len(parts.pairs.all),
    )


def state_bytes(model: nn.Module) -> int:
    """Weights, gradients and moments."""
    parameters = list(model.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return sum(p.numel() * p.element_size() for p in parameters) + STATE_BYTES * trained


def _at(step: Step, number: int, _: int, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    return step.losses(number, batch)
