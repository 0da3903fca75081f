"""What a run would take: a few steps of the real task, measured. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from finetune import checkpoint, memory
from finetune.loop import Task, Training, evaluate, one_step, prepare


@dataclass(frozen=True)
class Estimate:
    """What a run would take, from a few measured steps; bytes and seconds."""

    seconds_a_step: float
    seconds_on_dev: float
    memory: int
    """Peak of this process, or of the accelerator where there is one."""
    checkpoint: int
    disk: int
    trained: int
    """Parameters."""
    parameters: int

    def seconds(self, training: Training) -> float:
        """Of the whole run, export not counted."""
        looks = -(-training.steps // training.evaluate_every)
        whole = self.seconds_a_step * training.steps + self.seconds_on_dev * looks
        return min(whole, training.budget_seconds) if training.budget_seconds else whole


def estimate(task: Task, training: Training) -> Estimate:
    """Of the loop of one loss; the model is of no use afterwards."""
    accelerator, model, optimizer = prepare(task, training)
    checkpoint.seed_everything(training.seed)
    model.train()

    def step(numbers: list[int]) -> None:
        one_step(task, model, optimizer, accelerator, numbers, training.clip_norm)

    return measure(step, lambda: evaluate(task), task.model, [optimizer], training)


def measure(
    step: Callable[[list[int]], object],
    look_at_dev: Callable[[], object],
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    training: Training,
    steps: int = 3,
) -> Estimate:
    """Takes a few steps, given the numbers of their batches; the first of them is not counted. Writes nothing."""
    memory.begin(model)
    began = time.perf_counter()
    for i in range(steps + 1):
        if i == 1:
            began = time.perf_counter()
        step([i * training.accumulate + k for k in range(training.accumulate)])
    trained_at = time.perf_counter()
    look_at_dev()
    on_dev = time.perf_counter() - trained_at
    weights = sum(tensor.nbytes for tensor in checkpoint.weights(model).values())  # a copy, as every checkpoint makes
    states = (state for optimizer in optimizers for state in optimizer.state.values())
    moments = sum(t.nbytes for state in states for t in state.values() if isinstance(t, Tensor))
    return Estimate(
        seconds_a_step=(trained_at - began) / steps,
        seconds_on_dev=on_dev,
        memory=memory.peak(model),
        checkpoint=weights + moments,
        disk=2 * (weights + moments)
        + (training.keep_best + 1) * weights,  # the new one is whole before the old one goes
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        parameters=sum(p.numel() for p in model.parameters()),
    )


def show(estimate: Estimate, training: Training) -> str:
    """The estimate for a person, one line a figure."""
    minutes = estimate.seconds(training) / 60
    return (
        f"steps      {training.steps:,}, {estimate.seconds_a_step:.3f} s each\n"
        f"time       {minutes:.1f} minutes, export not counted; each look at dev {estimate.seconds_on_dev:.1f} s\n"
        f"memory     {estimate.memory / 1e9:.2f} GB at the peak\n"
        f"disk       {estimate.disk / 1e9:.3f} GB, export not counted\n"
        f"trained    {estimate.trained:,} of {estimate.parameters:,} parameters"
    )
