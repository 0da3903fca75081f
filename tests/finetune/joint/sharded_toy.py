"""A model before a small Llama that processes share out, and batches that ask it once, several times or not at all.

As a program: `python -m tests.finetune.joint.sharded_toy FOLDER` is one of the processes that the environment names. It
trains in FOLDER/unbroken, and in FOLDER/broken, where it is interrupted on the way and goes on.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from finetune import shards
from finetune.errors import TrainingError
from finetune.joint import loop
from finetune.joint.edges import Crossing
from finetune.joint.turns import evenly
from finetune.loop import Progress
from tests.finetune.joint import tiny
from tests.finetune.joint.joint_toy import TRAINING, interrupted
from tests.finetune.toy import open_toy


def task() -> loop.Task:
    """The Llama reads what the first model makes; half of its weights are frozen, as a base is. `shard` shares it out
    where there are several processes."""
    chat = tiny.llama(11)
    for name, parameter in chat.named_parameters():
        parameter.requires_grad_("self_attn" in name or "norm" in name)
    chat.gradient_checkpointing_enable({"use_reentrant": False})
    shards.shard(chat, "cpu")
    models = nn.ModuleDict({"first": nn.Linear(3, 32), "chat": chat})
    crossing = Crossing()

    def losses(step: int, batch: tuple[int, Tensor]) -> dict[str, Tensor]:
        number, x = batch
        hidden = models["first"](x)  # [B, 3] to [B, 32]
        found = {"own_loss": (hidden.mean() - 1) ** 2}
        for asked in range(number % 3):
            embedded = crossing(hidden[None, asked:], 0.5)
            found[f"chat_{asked}_loss"] = chat(inputs_embeds=embedded, use_cache=False).logits.square().mean()
        if number % 4 == 1:
            with torch.no_grad():
                chat(input_ids=torch.tensor([[1, 2]]), use_cache=False)
        if number % 5 == 0:
            chat(input_ids=torch.tensor([[1, 2]]), use_cache=False)  # an answer that no loss uses
        return found

    def dev() -> dict[str, float]:
        return {"dev_loss": sum(float(one) for one in losses(0, batch(1001)).values())}

    def batch(number: int) -> tuple[int, Tensor]:
        return number, torch.randn(4, 3, generator=torch.Generator().manual_seed(number))

    return loop.Task(models, batch, evenly(chat, losses), {"edge": crossing}, dev, {"first": 0.5})


def train(folder: Path, accumulate: int = 1, made: loop.Task | None = None) -> tuple[loop.Task, Progress]:
    """Trains, or goes on."""
    made, how = made or task(), replace(TRAINING, accumulate=accumulate, learning_rate=0.01)
    return made, loop.train(made, how, open_toy(folder, how))


def main() -> None:
    """Trains as one of several processes."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    made, _ = train(folder / "unbroken")
    layers = [one for name, one in made.models["chat"].named_parameters() if ".layers." in name]
    assert all(isinstance(one, DTensor) for one in layers)
    assert all(shards.held(one).numel() < one.numel() for one in layers)
    with pytest.raises(TrainingError, match="precision: got fp16 with shard, expected bf16 or no"):
        shards.expect_precision(made.models, "fp16")
    with contextlib.suppress(KeyboardInterrupt):
        train(folder / "broken", made=interrupted(task()))
    train(folder / "broken")


if __name__ == "__main__":
    main()
