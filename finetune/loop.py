"""The training loop of recipes that minimise one loss: plain functions over a Task. Knows no data and no export.

A step takes `accumulate` batches in each process. Their losses are sums; the gradient is divided by the number of
everything that was counted, so that a step does not depend on how its rows were cut into batches.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from finetune import checkpoint, memory, processes, shards
from finetune.budget import Budget
from finetune.errors import TrainingError
from finetune.measurements import Measurements
from finetune.run import Run


@dataclass(frozen=True)
class Training:
    """`training:` of a recipe's configuration."""

    steps: int
    """Steps of the optimizer, unless dev stops it earlier."""
    learning_rate: float
    warm_up_steps: int = 0
    schedule: Literal["cosine", "linear", "constant", "exponential"] = "cosine"
    """How the learning rate falls after the warm-up: to nothing, not at all, or by a hundredth in 16,000 steps as that
    of VITS."""
    weight_decay: float = 0.0
    accumulate: int = 1
    """Batches a step."""
    clip_norm: float = 1.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision, in accelerate's words; `no` is float32."""
    evaluate_every: int = 100
    """Steps between looks at dev."""
    patience: int = 0
    """Looks at dev without a better one, after which training ends; 0: never."""
    keep_best: int = 1
    """How many of the best weights stay on disk."""
    save_every: int = 100
    """Steps between checkpoints."""
    log_every: int = 10
    seed: int = 1
    threads: int = 0
    """Of torch on the CPU; 0: its own choice. Resuming is bit-equal only with the same number."""
    device: Literal["auto", "cpu"] = "auto"
    data_share: float = 1.0
    """Of the rows of train; a smaller share is part of a larger one (`data_of_run.py`). For learning curves."""
    budget_seconds: float | None = None
    """After which training ends, whatever `steps` says. Of this process's CPU, or of the clock where an
    accelerator trains; dev and checkpoints count. The rate falls with the share that is spent, so that no two runs are
    equal to the bit."""

    def __post_init__(self) -> None:
        if self.budget_seconds is not None and self.budget_seconds <= 0:
            raise ValueError(f"budget_seconds: got {self.budget_seconds}, expected more than 0, or none")
        if not 0 < self.data_share <= 1:
            raise ValueError(f"data_share: got {self.data_share}, expected more than 0, at most 1")
        for name in ("steps", "accumulate", "evaluate_every", "keep_best", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")


@dataclass(frozen=True)
class Task:
    """What a recipe trains."""

    model: nn.Module
    batch: Callable[[int], Any]
    """The batch of a number, always the same for the same one; number N is taken by one process once."""
    loss: Callable[[nn.Module, Any], tuple[Tensor, float]]
    """Model and batch to (sum of losses, number of what was summed)."""
    dev: Callable[[nn.Module], Mapping[str, float]]
    """Measures on dev, of the model in evaluation mode; the first one decides, and less of it is better."""


@dataclass
class Progress:
    """How far training is; with weights, optimizer and chance, all that the next step depends on."""

    step: int = 0
    best: dict[int, float] = field(default_factory=dict)
    """Step to its measure on dev, of the weights that are kept; best first."""
    stale: int = 0
    """Looks at dev since the best one."""
    done: bool = False
    seconds: float = 0.0
    """Spent, where there is a budget."""


def train(task: Task, training: Training, run: Run) -> Progress:
    """Trains, or continues from the run's checkpoint; leaves the best weights in the model. Raises TrainingError."""
    accelerator, model, optimizer = prepare(task, training)
    memory.begin(task.model)
    world, rank = accelerator.num_processes, accelerator.process_index
    checkpoint.seed_everything(training.seed + rank)
    progress = restore(task.model, optimizer, accelerator, run)
    budget = Budget(training.budget_seconds, progress.seconds, accelerator)
    with Measurements(run, progress.step, training.steps) as measurements:
        model.train()
        while progress.step < training.steps and not progress.done:
            first = progress.step * training.accumulate
            numbers = [(first + i) * world + rank for i in range(training.accumulate)]
            rate = training.learning_rate * share_of_rate(progress.step, training, budget.share())
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, norm = one_step(task, model, optimizer, accelerator, numbers, training.clip_norm)
            progress.step += 1
            last = progress.step == training.steps or budget.share() >= 1
            measurements.step(progress.step, loss)
            if progress.step % training.log_every == 0 or last:
                measurements.write(progress.step, gradient_norm=norm, learning_rate=rate)
            if progress.step % training.evaluate_every == 0 or last:
                measured = processes.agreed(evaluate(task))
                measurements.write(progress.step, **measured)
                judge(task.model, run, training, progress, next(iter(measured.values())))
                model.train()
            if progress.step % training.save_every == 0 or last or progress.done:
                progress.done = progress.done or last
                progress.seconds = budget.spent()
                save(task.model, optimizer, accelerator, run, progress)
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else exports would compute in mixed precision
    best = next(iter(progress.best))
    checkpoint.restore_weights(task.model, checkpoint.load(run.best(best))["weights"], str(run.best(best)))
    run.note(**facts(progress, training, task.model))
    task.model.eval()
    return progress


def facts(progress: Progress, training: Training, model: nn.Module) -> dict[str, float]:
    """What a run says of its training: its best step, the seconds of its budget, and its peak of memory in bytes."""
    step, measure = next(iter(progress.best.items()))
    spent = {"seconds": round(progress.seconds, 2)} if training.budget_seconds else {}
    return {"steps": progress.step, "best_step": step, "best_on_dev": measure, "memory": memory.peak(model), **spent}


def evaluate(task: Task) -> Mapping[str, float]:
    """Measures on dev. Every process measures all of it, so that none waits for another one for long."""
    task.model.eval()
    with torch.no_grad():
        return task.dev(task.model)


def new_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW over what is trained; matrices decay, biases and norms do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    each = False if shards.sharded(model) else None  # torch's default on a GPU takes whole weights, or parts, not both
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=training.learning_rate, foreach=each)


def share_of_rate(step: int, training: Training, spent: float = 0.0) -> float:
    """Share of the learning rate in a step: up linearly over the warm-up, then down as `schedule` says, by steps or by
    the share of the budget that is spent, whichever is further."""
    if step < training.warm_up_steps:
        return (step + 1) / (training.warm_up_steps + 1)
    done = max((step - training.warm_up_steps) / max(1, training.steps - training.warm_up_steps), min(1.0, spent))
    if training.schedule == "exponential":  # https://arxiv.org/abs/2106.06103; an epoch had about 200 steps
        return float(0.999875 ** ((step - training.warm_up_steps) / 200))
    return {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 + 0.5 * math.cos(math.pi * done)}[training.schedule]


def prepare(task: Task, training: Training) -> tuple[Any, nn.Module, Any]:
    """Accelerator, model and optimizer on the device, in the precision and number of processes asked for."""
    from accelerate import Accelerator

    if training.threads:
        torch.set_num_threads(training.threads)
    accelerator = Accelerator(cpu=training.device == "cpu", mixed_precision=training.precision)
    if shards.sharded(task.model):  # which averages its layers' gradients by itself
        shards.expect_precision(task.model, training.precision)
        task.model.to(accelerator.device)
        return accelerator, task.model, accelerator.prepare(new_optimizer(task.model, training))
    model, optimizer = accelerator.prepare(task.model, new_optimizer(task.model, training))
    return accelerator, model, optimizer


def one_step(
    task: Task, model: nn.Module, optimizer: Any, accelerator: Any, numbers: list[int], clip_norm: float
) -> tuple[float, float]:
    """Mean loss over everything counted in all processes, and the gradient's norm before clipping."""
    from accelerate.utils import send_to_device

    total = torch.zeros(2, dtype=torch.float64)
    for number in numbers:
        batch = send_to_device(task.batch(number), accelerator.device)
        # Gradients travel between processes once a step, with the last batch.
        waits = accelerator.no_sync(model) if number != numbers[-1] else contextlib.nullcontext()
        with waits, accelerator.autocast():
            loss, count = task.loss(model, batch)
            accelerator.backward(loss)
        total += torch.tensor([loss.item(), count], dtype=torch.float64)
    summed, count = accelerator.reduce(total.to(accelerator.device), "sum").tolist()
    if not count:
        raise TrainingError(f"batches {numbers} have nothing to learn from, expected at least one target")
    sharded = shards.sharded(model)
    if sharded:
        processes.average_gradients([p for p in model.parameters() if p.requires_grad])
    for parameter in model.parameters():
        if parameter.grad is not None:  # averaged over processes by accelerate, summed over batches
            parameter.grad.mul_(accelerator.num_processes / count)
    clip = shards.clip_gradients if sharded else accelerator.clip_grad_norm_
    norm = float(clip(model.parameters(), clip_norm))
    mean = summed / count
    if not math.isfinite(mean):
        raise TrainingError(
            f"the loss of batches {numbers} is {mean}, expected a number; a lower learning_rate or precision=no helps"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return mean, norm


def judge(model: nn.Module, run: Run, training: Training, progress: Progress, measure: float) -> None:
    """Keeps the weights where they are among the best, and ends training where patience has.

    Of equal measures the later one counts: dev is small, and the rate has fallen since.
    """
    better = not progress.best or measure < min(progress.best.values())
    progress.stale = 0 if better else progress.stale + 1
    progress.done = bool(training.patience) and progress.stale >= training.patience
    kept = sorted({**progress.best, progress.step: measure}.items(), key=lambda item: (item[1], -item[0]))
    progress.best = dict(kept[: training.keep_best])
    if progress.step in progress.best:
        weights = checkpoint.weights(model)
        if run.main:
            checkpoint.save(run.best(progress.step), {"weights": weights})


def save(model: nn.Module, optimizer: Any, accelerator: Any, run: Run, progress: Progress) -> None:
    """Writes the checkpoint: all that the next step depends on."""
    from accelerate.utils import gather_object

    chance = gather_object([checkpoint.random_state()])  # one a process
    weights = checkpoint.weights(model)  # of a sharded model these come from all processes
    moments = shards.whole_state(optimizer) if shards.sharded(model) else optimizer.state_dict()
    if not run.main:
        return
    state = {
        "progress": vars(progress),
        "processes": accelerator.num_processes,
        "weights": weights,
        "optimizer": moments,
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler else {},
        "chance": chance,
    }
    checkpoint.save(run.checkpoint, state)
    for path in run.best(0).parent.glob("*.pt"):  # after the checkpoint: one that is killed here still has its best
        if path not in {run.best(step) for step in progress.best}:
            path.unlink()


def restore(model: nn.Module, optimizer: Any, accelerator: Any, run: Run) -> Progress:
    """Puts back what `save` wrote, where it has. Raises CheckpointError, TrainingError."""
    if not run.checkpoint.exists():
        return Progress()
    state = checkpoint.load(run.checkpoint)
    if state["processes"] != accelerator.num_processes:
        raise TrainingError(
            f"{run.checkpoint} is of {state['processes']} processes, expected as many, got {accelerator.num_processes}"
        )
    checkpoint.restore_weights(model, state["weights"], str(run.checkpoint))
    if shards.sharded(model):
        shards.load_state(optimizer, state["optimizer"])
    else:
        optimizer.load_state_dict(state["optimizer"])
    if accelerator.scaler:
        accelerator.scaler.load_state_dict(state["scaler"])
    checkpoint.restore_random_state(state["chance"][accelerator.process_index])
    return Progress(**state["progress"])
