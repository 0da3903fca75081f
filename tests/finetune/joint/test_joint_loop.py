"""The loop of several models: rates, clipping, weights that dev refuses, resuming, losses that are no numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finetune.checkpoint import seed_everything
from finetune.errors import TrainingError
from finetune.joint.edges import Crossing
from finetune.joint.loop import Task, prepare, train
from finetune.loop import Training
from finetune.run import Run
from tests.finetune.toy import open_toy

TRAINING = Training(
    steps=6, learning_rate=0.05, schedule="constant", evaluate_every=2, save_every=2, log_every=1, clip_norm=0.5,
    threads=1, device="cpu",
)  # fmt: skip


def task(worse: bool = False, rates: Mapping[str, float] | None = None) -> Task:
    """Two layers in a row that learn the sum of their inputs, a third that stays as it is."""
    seed_everything(3)
    models = nn.ModuleDict({"first": nn.Linear(3, 4), "second": nn.Linear(4, 1), "still": nn.Linear(1, 1)})
    models["still"].requires_grad_(False)
    crossing = Crossing()

    def losses(step: int, x: Tensor) -> dict[str, Tensor]:
        hidden = nn.functional.dropout(models["first"](x), 0.2, models["first"].training)
        found = models["second"](crossing(hidden, 0.5))[:, 0]
        return {"square_loss": ((found - x.sum(1)) ** 2).mean(), "size_loss": 0.01 * found.abs().mean()}

    def dev() -> dict[str, float]:
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(9))
        loss = float(losses(0, x)["square_loss"])
        return {"dev_loss": -loss if worse else loss}

    def batch(number: int) -> Tensor:
        return torch.randn(4, 3, generator=torch.Generator().manual_seed(number))

    return Task(models, batch, losses, {"between": crossing}, dev, rates or {})


def rows(run: Run) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def test_it_learns_and_tells_each_models_and_each_crossings_norm(tmp_path: Path) -> None:
    made, run = task(), open_toy(tmp_path / "run", TRAINING)
    progress = train(made, TRAINING, run)
    found = rows(run)
    assert found[0]["step"] == 0
    assert found[-1]["dev_loss"] < found[0]["dev_loss"]
    assert next(iter(progress.best)) == 6
    assert {"square_loss", "size_loss", "first_gradient_norm", "second_gradient_norm"} < set(found[1])
    assert found[1]["between_crossing_norm"] > 0
    assert "still_gradient_norm" not in found[1]


def test_weights_that_dev_refuses_are_taken_back(tmp_path: Path) -> None:
    made, run = task(worse=True), open_toy(tmp_path / "run", TRAINING)
    before = {name: tensor.clone() for name, tensor in made.models.state_dict().items()}
    progress = train(made, TRAINING, run)
    assert next(iter(progress.best)) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.models.state_dict().items())


def test_a_model_without_a_share_of_the_rate_stays(tmp_path: Path) -> None:
    made, run = task(rates={"first": 0.0}), open_toy(tmp_path / "run", TRAINING)
    before = made.models["first"].weight.detach().clone()
    train(made, TRAINING, run)
    assert torch.equal(made.models["first"].weight, before)
    assert not torch.equal(made.models["second"].weight, task().models["second"].weight)


@pytest.mark.parametrize("ended", [0, 3])  # before the first checkpoint and after it
def test_ended_at_any_step_it_goes_on_to_the_same_numbers(tmp_path: Path, ended: int) -> None:
    unbroken, broken = task(), task()
    train(unbroken, TRAINING, open_toy(tmp_path / "unbroken", TRAINING))

    def failing(number: int) -> Tensor:
        if number == ended:
            raise KeyboardInterrupt
        return torch.as_tensor(broken.batch(number))

    with pytest.raises(KeyboardInterrupt):
        train(replace(broken, batch=failing), TRAINING, open_toy(tmp_path / "broken", TRAINING))
    again = task()
    run = open_toy(tmp_path / "broken", TRAINING)
    train(again, TRAINING, run)
    assert rows(run) == rows(open_toy(tmp_path / "unbroken", TRAINING))
    for name, tensor in unbroken.models.state_dict().items():
        assert torch.equal(tensor, again.models.state_dict()[name])


def test_a_loss_that_is_no_number_and_nothing_to_train_are_refused(tmp_path: Path) -> None:
    made = task()
    broken = replace(made, losses=lambda step, batch: {"loss_of_it": made.models["second"].weight.sum() * torch.nan})
    with pytest.raises(TrainingError, match=r"the loss of batches \[0\] is nan, expected a number: .*loss_of_it"):
        train(broken, TRAINING, open_toy(tmp_path / "run", TRAINING))
    made.models.requires_grad_(False)
    with pytest.raises(TrainingError, match="no model has a weight to train"):
        prepare(made, TRAINING)
