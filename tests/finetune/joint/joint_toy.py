"""Two models with an edge that only every second batch has: a joint training of a moment.

As a program: `python -m tests.finetune.joint.joint_toy FOLDER` is one of the processes that the environment names. They
train in FOLDER/unbroken, and in FOLDER/broken, where they are interrupted on the way and go on.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from finetune.checkpoint import seed_everything
from finetune.joint import loop
from finetune.joint.edges import Crossing
from finetune.loop import Progress, Training
from tests.finetune.toy import open_toy

TRAINING = Training(
    steps=6, learning_rate=0.05, schedule="constant", weight_decay=0.01, evaluate_every=2, save_every=2, log_every=1,
    clip_norm=0.5, threads=1, device="cpu",
)  # fmt: skip


def task() -> loop.Task:
    """The second model learns the sum of the inputs; through the edge the first one does too. One is never met."""
    seed_everything(3)
    models = nn.ModuleDict({"first": nn.Linear(3, 4), "second": nn.Linear(4, 1), "unmet": nn.Linear(1, 1)})
    crossing = Crossing()

    def losses(step: int, batch: tuple[int, Tensor]) -> dict[str, Tensor]:
        number, x = batch
        hidden = models["first"](x) if number % 2 == 0 else x.new_ones(len(x), 4)
        crossed = crossing(hidden, 0.5) if number % 2 == 0 else hidden
        found = models["second"](crossed)[:, 0]
        losses = {"square_loss": ((found - x.sum(1)) ** 2).mean()}
        return losses | ({"edge_loss": hidden.square().mean()} if number % 2 == 0 else {})

    def dev() -> dict[str, float]:
        return {"dev_loss": float(losses(0, batch(1000))["square_loss"])}

    def batch(number: int) -> tuple[int, Tensor]:
        return number, torch.randn(4, 3, generator=torch.Generator().manual_seed(number))

    return loop.Task(models, batch, losses, {"edge": crossing}, dev, {"first": 0.5})


def train(folder: Path, accumulate: int = 1, made: loop.Task | None = None) -> tuple[loop.Task, Progress]:
    """Trains, or goes on."""
    made, how = made or task(), replace(TRAINING, accumulate=accumulate)
    return made, loop.train(made, how, open_toy(folder, how))


def interrupted(made: loop.Task) -> loop.Task:
    """The same, but for batches from the seventh on."""

    def batch(number: int) -> tuple[int, Tensor]:
        if number >= 6:
            raise KeyboardInterrupt
        return tuple(made.batch(number))

    return replace(made, batch=batch)


def main() -> None:
    """Trains as one of several processes."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    train(folder / "unbroken")
    with contextlib.suppress(KeyboardInterrupt):
        train(folder / "broken", made=interrupted(task()))
    train(folder / "broken")


if __name__ == "__main__":
    main()
