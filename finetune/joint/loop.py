"""The training loop of several models that share losses: plain functions over a Task. Knows no data and no edge.

Each model has its own share of the learning rate and is clipped by itself, so that one whose gradients are large does
not slow the others down. Of several processes each takes its own batches, and gradients are averaged by hand once a
step: losses go through several models, which a wrapper around each would not see.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from finetune import checkpoint, dry_run, memory, processes, shards
from finetune.budget import Budget
from finetune.errors import TrainingError
from finetune.joint.edges import Crossing
from finetune.loop import Progress, Training, facts, judge, restore, save, share_of_rate
from finetune.measurements import Measurements
from finetune.run import Run


@dataclass(frozen=True)
class Task:
    """What is trained."""

    models: nn.ModuleDict
    """By name; frozen ones are among them, since losses go through them."""
    batch: Callable[[int], Any]
    """The batch of a number, always the same for the same one."""
    losses: Callable[[int, Any], Mapping[str, Tensor]]
    """Step and batch to weighted losses by name, means; their sum is minimised."""
    crossings: Mapping[str, Crossing]
    """By edge."""
    dev: Callable[[], Mapping[str, float]]
    """Measures on dev, of the models in evaluation mode; the first one decides, and less of it is better."""
    rates: Mapping[str, float]
    """Each model's share of the learning rate; 1 where none is given."""


def train(task: Task, training: Training, run: Run) -> Progress:
    """Trains, or continues from the run's checkpoint; leaves the best weights in the models. Raises TrainingError.

    The weights that training began with count among them: a stage that makes dev worse changes nothing.
    """
    accelerator, optimizer = prepare(task, training)
    memory.begin(task.models)
    world, rank = accelerator.num_processes, accelerator.process_index
    checkpoint.seed_everything(training.seed + rank)
    progress = restore(task.models, optimizer, accelerator, run)
    budget = Budget(training.budget_seconds, progress.seconds, accelerator)
    with Measurements(run, progress.step, training.steps) as measurements:
        if not progress.best:
            _look(task, training, run, progress, measurements)
        task.models.train()
        while progress.step < training.steps and not progress.done:
            first = progress.step * training.accumulate
            numbers = [(first + i) * world + rank for i in range(training.accumulate)]
            rate = training.learning_rate * share_of_rate(progress.step, training, budget.share())
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            measured = one_step(task, optimizer, accelerator, progress.step, numbers, training.clip_norm)
            progress.step += 1
            last = progress.step == training.steps or budget.share() >= 1
            measurements.step(progress.step, measured.pop("loss"))
            if progress.step % training.log_every == 0 or last:
                measurements.write(progress.step, **measured, learning_rate=rate)
            if progress.step % training.evaluate_every == 0 or last:
                _look(task, training, run, progress, measurements)
            if progress.step % training.save_every == 0 or last or progress.done:
                progress.done = progress.done or last
                progress.seconds = budget.spent()
                save(task.models, optimizer, accelerator, run, progress)
    processes.wait()  # until the first one has written the best weights
    best = next(iter(progress.best))
    checkpoint.restore_weights(task.models, checkpoint.load(run.best(best))["weights"], str(run.best(best)))
    run.note(**facts(progress, training, task.models))
    task.models.eval()
    return progress


def estimate(task: Task, training: Training) -> dry_run.Estimate:
    """What a run would take; the models are of no use afterwards."""
    accelerator, optimizer = prepare(task, training)
    checkpoint.seed_everything(training.seed)
    task.models.train()
    return dry_run.measure(
        lambda numbers: one_step(task, optimizer, accelerator, 0, numbers, training.clip_norm),
        lambda: evaluate(task),
        task.models,
        [optimizer],
        training,
    )


def prepare(task: Task, training: Training) -> tuple[Any, Any]:
    """Accelerator and optimizer; the models are on its device. Raises TrainingError where nothing is trained."""
    from accelerate import Accelerator

    if training.threads:
        torch.set_num_threads(training.threads)
    accelerator = Accelerator(cpu=training.device == "cpu", mixed_precision=training.precision)
    shards.expect_precision(task.models, training.precision)
    task.models.to(accelerator.device)
    groups = []
    for name, model in task.models.items():
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for decay, own in (
            (training.weight_decay, [p for p in trained if p.ndim > 1]),
            (0.0, [p for p in trained if p.ndim <= 1]),
        ):
            if own:
                groups.append({"params": own, "weight_decay": decay, "share": task.rates.get(name, 1.0)})
    if not groups:
        raise TrainingError("no model has a weight to train, expected one at least")
    each = False if shards.sharded(task.models) else None  # see finetune.loop.new_optimizer
    return accelerator, accelerator.prepare(torch.optim.AdamW(groups, lr=training.learning_rate, foreach=each))


def evaluate(task: Task) -> Mapping[str, float]:
    """Measures on dev; leaves the models in evaluation mode. The first process's are those of all."""
    task.models.eval()
    with torch.no_grad():
        return processes.agreed(task.dev())


def one_step(
    task: Task, optimizer: Any, accelerator: Any, step: int, numbers: list[int], clip_norm: float
) -> dict[str, float]:
    """Losses by name, the gradient's norm of each model before clipping and of each edge at its crossing; of several
    processes the means."""
    from accelerate.utils import send_to_device

    measured: defaultdict[str, float] = defaultdict(float)
    for number in numbers:
        batch = send_to_device(task.batch(number), accelerator.device)
        with accelerator.autocast():
            losses = task.losses(step, batch)
            total = torch.stack(list(losses.values())).sum()
        accelerator.backward(total / len(numbers))
        for name, loss in {"loss": total, **losses}.items():
            measured[name] += loss.item() / len(numbers)
    for name, crossing in task.crossings.items():
        measured[f"{name}_crossing_norm"] = crossing.norm()
    together = processes.mean(measured)
    if not math.isfinite(together["loss"]):
        raise TrainingError(f"the loss of batches {numbers} is {together['loss']}, expected a number: {together}")
    processes.average_gradients([p for p in task.models.parameters() if p.requires_grad])
    accelerator.unscale_gradients(optimizer)
    for name, model in task.models.items():
        if any(parameter.grad is not None for parameter in model.parameters()):
            together[f"{name}_gradient_norm"] = shards.clip_gradients(model.parameters(), clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return together


def _look(task: Task, training: Training, run: Run, progress: Progress, measurements: Measurements) -> None:
    measured = evaluate(task)
    measurements.write(progress.step, **measured)
    judge(task.models, run, training, progress, next(iter(measured.values())))
    task.models.train()
