"""A task small enough to train in a moment, with chance in every place that a checkpoint must restore.

As a program: `python -m tests.finetune.toy RUN KILL_STEP [plain]`; kills itself without warning at that step, or never.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from finetune import checkpoint
from finetune.loop import Progress, Task, Training, train
from finetune.run import Run, open_run

TRAINING = Training(
    steps=24, learning_rate=0.05, warm_up_steps=3, accumulate=2, evaluate_every=4, keep_best=2, save_every=5,
    log_every=3, weight_decay=0.01, threads=1, device="cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """What the run folder keeps."""

    run: str
    training: Training


class Network(nn.Module):
    """Dropout draws from torch; batch norm has buffers; one layer is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 8).requires_grad_(False)
        self.layers = nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 4] to [B, 1]."""
        return torch.as_tensor(self.layers(self.frozen(x)))


def batch(number: int) -> Tensor:
    """[6, 4], the same for the same number; some noise comes from python's and numpy's global sources."""
    made = torch.randn(6, 4, generator=torch.Generator().manual_seed(number))
    return made + random.random() * 0.1 + float(np.random.random()) * 0.1


def loss(model: nn.Module, x: Tensor) -> tuple[Tensor, float]:
    """Summed squares: the target is the sum of the inputs."""
    return ((model(x)[:, 0] - x.sum(1)) ** 2).sum(), len(x)


def dev(model: nn.Module) -> Mapping[str, float]:
    """Mean square on rows of their own."""
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(999_999))
    return {"dev_loss": loss(model, x)[0].item() / 32}


def task(make: Callable[[int], Tensor] = batch) -> Task:
    """A new one; the frozen layer is that of every other one, as that of a base would be."""
    checkpoint.seed_everything(1)
    return Task(Network(), make, loss, dev)


def plain_task(cut: int = 1) -> Task:
    """One layer and no chance; a batch has `cut` parts of two or three rows each."""
    checkpoint.seed_everything(1)

    def rows(number: int) -> Tensor:
        return torch.randn(2 + number % 2, 4, generator=torch.Generator().manual_seed(number))

    return Task(nn.Linear(4, 1), lambda n: torch.cat([rows(n * cut + i) for i in range(cut)]), loss, dev)


def open_toy(folder: Path, training: Training = TRAINING, resume: bool = True) -> Run:
    """The run in a folder."""
    return open_run(folder, "toy", Config(str(folder), training), data={"train": "0"}, seed=1, resume=resume)


def train_toy(folder: Path, made: Task | None = None, **changes: object) -> tuple[Progress, Task]:
    """Trains in a folder, with changes of TRAINING."""
    training = replace(TRAINING, **changes)  # type: ignore[arg-type]
    made = made or task()
    return train(made, training, open_toy(folder, training)), made


def main() -> None:
    """Trains as a process of its own."""
    kill, processes = int(sys.argv[2]), int(os.environ.get("WORLD_SIZE", "1"))
    made = plain_task() if sys.argv[3:] else task()

    def deadly(number: int) -> Tensor:
        if number // (TRAINING.accumulate * processes) == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.as_tensor(made.batch(number))

    train_toy(Path(sys.argv[1]), replace(made, batch=deadly))


if __name__ == "__main__":
    main()
