"""A budget of seconds ends training at once, also one that was interrupted, and the learning rate falls with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from finetune import checkpoint
from finetune.budget import Budget
from finetune.errors import TrainingError
from finetune.joint import loop as joint_loop
from finetune.loop import share_of_rate, train
from tests.finetune.joint.test_joint_loop import TRAINING as JOINT
from tests.finetune.joint.test_joint_loop import task as joint_task
from tests.finetune.toy import TRAINING, batch, open_toy, task, train_toy

NOTHING = 1e-9


def accelerator(device: str = "cpu", processes: int = 1) -> Any:
    return SimpleNamespace(device=torch.device(device), num_processes=processes)


def test_what_was_spent_before_counts() -> None:
    budget = Budget(10.0, 9.0, accelerator())
    assert budget.spent() >= 9
    assert budget.share() >= 0.9
    assert Budget(10.0, 0.0, accelerator("cuda")).share() < 1


def test_without_a_budget_nothing_is_spent() -> None:
    budget = Budget(None, 5.0, accelerator())
    assert (budget.spent(), budget.share()) == (0.0, 0.0)


def test_several_processes_are_refused() -> None:
    with pytest.raises(TrainingError, match="budget_seconds takes one process, got 2"):
        Budget(10.0, 0.0, accelerator(processes=2))
    with pytest.raises(ValueError, match=r"budget_seconds: got 0\.0, expected more than 0"):
        replace(TRAINING, budget_seconds=0.0)


def test_training_ends_at_the_step_in_which_it_is_spent(tmp_path: Path) -> None:
    progress, _ = train_toy(tmp_path, budget_seconds=NOTHING)
    assert (progress.step, progress.done, list(progress.best)) == (1, True, [1])
    facts = open_toy(tmp_path, replace(TRAINING, budget_seconds=NOTHING)).facts()
    assert facts["steps"] == 1
    assert facts["seconds"] > 0
    again, _ = train_toy(tmp_path, budget_seconds=NOTHING)
    assert again.step == 1


def test_an_interrupted_run_has_only_the_rest(tmp_path: Path) -> None:
    made = task()

    def failing(number: int) -> Tensor:
        if number // TRAINING.accumulate == 7:  # after the checkpoint of step 5
            raise KeyboardInterrupt
        return batch(number)

    plenty = replace(TRAINING, budget_seconds=1e6)
    with pytest.raises(KeyboardInterrupt):
        train(replace(made, batch=failing), plenty, open_toy(tmp_path))
    spent = checkpoint.load(tmp_path / "checkpoint.pt")["progress"]["seconds"]
    assert spent > 0
    progress = train(task(), replace(TRAINING, budget_seconds=spent), open_toy(tmp_path))
    assert progress.step == 6


def test_several_models_have_one_too(tmp_path: Path) -> None:
    training = replace(JOINT, budget_seconds=NOTHING)
    run = open_toy(tmp_path, training)
    progress = joint_loop.train(joint_task(), training, run)
    assert (progress.step, progress.done) == (1, True)
    assert run.facts()["seconds"] > 0


def test_the_rate_falls_by_what_is_further_spent() -> None:
    training = replace(TRAINING, steps=100, warm_up_steps=2, schedule="linear")
    assert share_of_rate(1, training, spent=0.9) == pytest.approx(2 / 3)  # warming up
    assert share_of_rate(51, training, spent=0.1) == pytest.approx(0.5)
    assert share_of_rate(51, training, spent=0.8) == pytest.approx(0.2)
    assert share_of_rate(51, training, spent=1.5) == 0.0
