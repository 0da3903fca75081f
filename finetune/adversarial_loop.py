"""The training loop of recipes in which a generator learns from a discriminator. Knows no data and no export.

A step takes the discriminator one step on what the generator makes of `accumulate` batches in each process, and then
the generator one step against that discriminator. The generator makes each batch twice, first without gradients: so a
step of several batches needs the memory of one.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from finetune import checkpoint, dry_run, memory
from finetune.budget import Budget
from finetune.errors import TrainingError
from finetune.loop import Progress, Training, facts, judge, restore, save, share_of_rate
from finetune.measurements import Measurements
from finetune.run import Run

BETAS, EPSILON = (0.8, 0.99), 1e-9  # of both optimizers: as VITS and HiFi-GAN were trained


@dataclass(frozen=True)
class Task:
    """What a recipe trains. Losses are means over a batch."""

    generator: nn.Module
    discriminator: nn.Module
    batch: Callable[[int], Any]
    """The batch of a number, always the same for the same one; number N is taken by one process once."""
    generate: Callable[[nn.Module, Any], Any]
    """Generator and batch to what the losses are of."""
    discriminator_loss: Callable[[nn.Module, Any], Tensor]
    """Discriminator, and what was made without gradients."""
    generator_losses: Callable[[nn.Module, Any], Mapping[str, Tensor]]
    """Discriminator, whose weights stay, and what was made: losses by name, whose sum is minimised."""
    dev: Callable[[nn.Module], Mapping[str, float]]
    """Measures on dev, of the generator in evaluation mode; by the first one the best weights are kept, less is better.
    It ends nothing: what an adversary asks for is not what a distance measures."""


@dataclass(frozen=True)
class Prepared:
    """A task's networks and optimizers on the device, in the precision and number of processes asked for."""

    accelerator: Any
    generator: nn.Module
    discriminator: nn.Module
    optimizers: Sequence[Any]
    """The generator's, the discriminator's."""
    both: nn.ModuleDict
    """The networks as they were given, for checkpoints."""

    def state_dict(self) -> dict[str, Any]:
        """Of both optimizers, as if they were one."""
        return {str(i): optimizer.state_dict() for i, optimizer in enumerate(self.optimizers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        for i, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(state[str(i)])


def train(task: Task, training: Training, run: Run) -> Progress:
    """Trains, or continues from the run's checkpoint; leaves the last weights in the networks. Raises TrainingError."""
    made = prepare(task, training)
    memory.begin(made.both)
    world, rank = made.accelerator.num_processes, made.accelerator.process_index
    checkpoint.seed_everything(training.seed + rank)
    progress = restore(made.both, made, made.accelerator, run)
    budget = Budget(training.budget_seconds, progress.seconds, made.accelerator)
    with Measurements(run, progress.step, training.steps) as measurements:
        made.both.train()
        while progress.step < training.steps and not progress.done:
            first = progress.step * training.accumulate
            numbers = [(first + i) * world + rank for i in range(training.accumulate)]
            rate = training.learning_rate * share_of_rate(progress.step, training, budget.share())
            for group in (group for optimizer in made.optimizers for group in optimizer.param_groups):
                group["lr"] = rate
            measured = one_step(task, made, numbers, training.clip_norm)
            progress.step += 1
            last = progress.step == training.steps or budget.share() >= 1
            measurements.step(progress.step, measured.pop("loss"))
            if progress.step % training.log_every == 0 or last:
                measurements.write(progress.step, **measured, learning_rate=rate)
            if progress.step % training.evaluate_every == 0 or last:
                on_dev = evaluate(task)
                measurements.write(progress.step, **on_dev)
                judge(task.generator, run, training, progress, next(iter(on_dev.values())))
                made.both.train()
            if progress.step % training.save_every == 0 or last:
                progress.done = last
                progress.seconds = budget.spent()
                save(made.both, made, made.accelerator, run, progress)
    made.accelerator.wait_for_everyone()
    made.accelerator.unwrap_model(made.generator, keep_fp32_wrapper=False)  # else exports would be of mixed precision
    run.note(**facts(progress, training, made.both))
    task.generator.eval()
    return progress


def evaluate(task: Task) -> Mapping[str, float]:
    """Measures on dev. Every process measures all of it, so that none waits for another one for long."""
    task.generator.eval()
    with torch.no_grad():
        return task.dev(task.generator)


def estimate(task: Task, training: Training) -> dry_run.Estimate:
    """What a run would take; the networks are of no use afterwards."""
    made = prepare(task, training)
    checkpoint.seed_everything(training.seed)
    made.both.train()
    return dry_run.measure(
        lambda numbers: one_step(task, made, numbers, training.clip_norm),
        lambda: evaluate(task),
        made.both,
        made.optimizers,
        training,
    )


def prepare(task: Task, training: Training) -> Prepared:
    """Networks and optimizers, ready for steps."""
    from accelerate import Accelerator

    if training.threads:
        torch.set_num_threads(training.threads)
    accelerator = Accelerator(cpu=training.device == "cpu", mixed_precision=training.precision)
    networks = (task.generator, task.discriminator)
    optimizers = [
        torch.optim.AdamW(
            network.parameters(),
            lr=training.learning_rate,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=training.weight_decay,
        )
        for network in networks
    ]
    generator, discriminator, *prepared = accelerator.prepare(*networks, *optimizers)
    both = nn.ModuleDict({"generator": task.generator, "discriminator": task.discriminator})
    return Prepared(accelerator, generator, discriminator, prepared, both)


def one_step(task: Task, made: Prepared, numbers: Sequence[int], clip_norm: float) -> dict[str, float]:
    """Losses by name, means over the batches of all processes: `loss` is the generator's; and gradients' norms."""
    from accelerate.utils import send_to_device

    batches = [send_to_device(task.batch(number), made.accelerator.device) for number in numbers]
    measured: defaultdict[str, float] = defaultdict(float)

    def learn(network: nn.Module, optimizer: Any, name: str, losses_of: Callable[[Any], Mapping[str, Tensor]]) -> None:
        for i, batch in enumerate(batches):
            # Gradients travel between processes once a step, with the last batch.
            last = i == len(batches) - 1
            with contextlib.nullcontext() if last else made.accelerator.no_sync(network):
                losses = losses_of(batch)
                total = torch.stack(list(losses.values())).sum()
                made.accelerator.backward(total / len(batches))
            for key, loss in {name: total, **losses}.items():
                measured[key] += loss.item() / len(batches)
        made.accelerator.unscale_gradients(optimizer)
        norm = float(nn.utils.clip_grad_norm_(network.parameters(), clip_norm))
        if not math.isfinite(measured[name]):
            raise TrainingError(
                f"{name} of batches {list(numbers)} is {measured[name]}, expected a number; a lower learning_rate or "
                f"precision=no helps"
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        measured[f"{name}_gradient_norm"] = norm

    def judged(batch: Any) -> Mapping[str, Tensor]:
        with torch.no_grad():
            made_of_it = task.generate(made.generator, batch)
        return {"discriminator_loss": task.discriminator_loss(made.discriminator, made_of_it)}

    learn(made.discriminator, made.optimizers[1], "discriminator_loss", judged)
    # The network itself and not its wrapper for several processes, which would wait for gradients that it does not get.
    task.discriminator.requires_grad_(False)
    learn(
        made.generator,
        made.optimizers[0],
        "loss",
        lambda batch: task.generator_losses(task.discriminator, task.generate(made.generator, batch)),
    )
    task.discriminator.requires_grad_(True)
    names = list(measured)
    values = torch.tensor([measured[name] for name in names], device=made.accelerator.device)
    return dict(zip(names, made.accelerator.reduce(values, "mean").tolist(), strict=True))
