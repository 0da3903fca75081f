"""A generator and a discriminator small enough to train in a moment, with chance in every place.

As a program: `python -m tests.finetune.adversarial_toy RUN KILL_STEP`; kills itself at that step, or never.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from finetune import checkpoint
from finetune.adversarial_loop import Task, train
from finetune.loop import Progress, Training
from tests.finetune.toy import open_toy

TRAINING = Training(
    steps=24, learning_rate=0.02, schedule="exponential", accumulate=2, evaluate_every=4, keep_best=2, save_every=5,
    log_every=3, weight_decay=0.01, threads=1, device="cpu", clip_norm=100.0,
)  # fmt: skip


class Generator(nn.Module):
    """Noise is drawn and dropped out; batch norm has buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """[B, 4] to the same shape, beside what it should be like."""
        noise = torch.randn_like(x) * 0.1 * random.random()
        return {"made": self.layers(x + noise), "real": 2 * x + 1}


def batch(number: int) -> Tensor:
    """[6, 4], the same for the same number."""
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(number))


def discriminator_loss(discriminator: nn.Module, seen: Mapping[str, Tensor]) -> Tensor:
    """Least squares: the real is 1, the made is 0."""
    return torch.as_tensor(((discriminator(seen["real"]) - 1) ** 2).mean() + (discriminator(seen["made"]) ** 2).mean())


def generator_losses(discriminator: nn.Module, seen: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """How well the discriminator sees through it, and how far it is."""
    return {
        "adversarial_loss": ((discriminator(seen["made"]) - 1) ** 2).mean(),
        "distance_loss": (seen["made"] - seen["real"]).abs().mean(),
    }


def dev(generator: nn.Module) -> Mapping[str, float]:
    """Distance on rows of their own."""
    seen = generator(torch.randn(32, 4, generator=torch.Generator().manual_seed(999_999)))
    return {"dev_distance": (seen["made"] - seen["real"]).abs().mean().item()}


def task() -> Task:
    """A new one."""
    checkpoint.seed_everything(1)
    judge = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    return Task(Generator(), judge, batch, lambda g, x: g(x), discriminator_loss, generator_losses, dev)


def plain_task(cut: int = 1) -> Task:
    """Without chance; a batch has `cut` parts of six rows."""
    checkpoint.seed_everything(1)

    def rows(number: int) -> Tensor:
        return torch.cat([batch(number * cut + i) for i in range(cut)])

    def generate(generator: nn.Module, x: Tensor) -> dict[str, Tensor]:
        return {"made": generator(x), "real": 2 * x + 1}

    made = Task(nn.Linear(4, 4), nn.Linear(4, 1), rows, generate, discriminator_loss, generator_losses, dev)
    return replace(made, dev=lambda generator: {"dev_distance": generator(batch(999_999)).abs().mean().item()})


def train_toy(folder: Path, made: Task | None = None, **changes: object) -> tuple[Progress, Task]:
    """Trains in a folder, with changes of TRAINING."""
    training = replace(TRAINING, **changes)  # type: ignore[arg-type]
    made = made or task()
    return train(made, training, open_toy(folder, training)), made


def main() -> None:
    """Trains as a process of its own."""
    kill, processes = int(sys.argv[2]), int(os.environ.get("WORLD_SIZE", "1"))
    made = task() if processes == 1 else plain_task()

    def deadly(number: int) -> Tensor:
        if number // (TRAINING.accumulate * processes) == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.as_tensor(made.batch(number))

    train_toy(Path(sys.argv[1]), replace(made, batch=deadly))


if __name__ == "__main__":
    main()
