"""The loop of generator and discriminator: the same result after kill -9, and however a step is cut."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from app import REPOSITORY
from app.supervisor import free_port
from finetune import dry_run
from finetune.adversarial_loop import estimate
from finetune.errors import TrainingError
from finetune.loop import share_of_rate
from tests.finetune.adversarial_toy import TRAINING, discriminator_loss, plain_task, task, train_toy
from tests.finetune.test_loop import measured, same, state_of

PROGRAM = [sys.executable, "-m", "tests.finetune.adversarial_toy"]


def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    progress, made = train_toy(tmp_path / "unbroken")
    command = [*PROGRAM, str(tmp_path / "killed"), "13"]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == -9
    assert state_of(tmp_path / "killed")["progress"]["step"] == 10
    resumed, other = train_toy(tmp_path / "killed")
    assert same(state_of(tmp_path / "unbroken"), state_of(tmp_path / "killed"))
    assert same(made.generator.state_dict(), other.generator.state_dict())
    assert measured(tmp_path / "unbroken") == measured(tmp_path / "killed")
    assert resumed == progress
    kept = {path.name for path in (tmp_path / "killed/best").iterdir()}
    assert kept == {f"step-{step:06d}.pt" for step in progress.best}


def test_both_learn_and_the_last_weights_stay(tmp_path: Path) -> None:
    progress, made = train_toy(tmp_path)
    rows = measured(tmp_path)
    distances = [row["dev_distance"] for row in rows if "dev_distance" in row]
    assert distances[-1] < distances[0]
    assert {"discriminator_loss", "adversarial_loss", "distance_loss", "loss_gradient_norm"} <= rows[0].keys()
    assert rows[0]["loss"] == pytest.approx(rows[0]["adversarial_loss"] + rows[0]["distance_loss"], abs=1e-5)
    last = state_of(tmp_path)["weights"]
    assert all(torch.equal(tensor, last[f"generator.{name}"]) for name, tensor in made.generator.state_dict().items())
    assert progress.done
    assert all(parameter.requires_grad for parameter in made.discriminator.parameters())


def test_a_step_does_not_depend_on_how_it_is_cut(tmp_path: Path) -> None:
    def trained(name: str, parts: int) -> dict[str, Tensor]:
        train_toy(tmp_path / name, plain_task(4 // parts), steps=6, accumulate=parts)
        weights: dict[str, Tensor] = state_of(tmp_path / name)["weights"]
        return weights

    torch.testing.assert_close(trained("whole", 1), trained("cut", 4))


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "1"}
    running = [
        subprocess.Popen(
            [*PROGRAM, str(tmp_path / "two"), "-1"],
            cwd=REPOSITORY,
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stderr=DEVNULL,
        )
        for rank in ("0", "1")
    ]
    assert [process.wait() for process in running] == [0, 0]
    train_toy(tmp_path / "one", plain_task(), accumulate=2 * TRAINING.accumulate)
    torch.testing.assert_close(state_of(tmp_path / "two")["weights"], state_of(tmp_path / "one")["weights"])


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """A process has one precision; this one is done with it."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
def test_mixed_precision_ends_in_float32(tmp_path: Path) -> None:
    _, made = train_toy(tmp_path, precision="bf16", steps=2)
    assert all(parameter.dtype == torch.float32 for parameter in made.generator.parameters())
    assert torch.isfinite(torch.cat([p.flatten() for p in made.generator.parameters()])).all()


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    def broken(discriminator: nn.Module, seen: dict[str, Tensor]) -> Tensor:
        return discriminator_loss(discriminator, seen) * float("nan")

    with pytest.raises(TrainingError, match=r"discriminator_loss of batches \[0, 1\] is nan, expected a number"):
        train_toy(tmp_path, replace(task(), discriminator_loss=broken))


def test_a_dry_run_measures_both_networks() -> None:
    found = estimate(task(), TRAINING)
    assert found.trained == found.parameters == (4 + 4) + (4 * 4 + 4) + (4 * 8 + 8) + (8 + 1)
    assert found.seconds_a_step > 0
    assert "steps      24," in dry_run.show(found, TRAINING)


def test_the_rate_falls_as_that_of_vits() -> None:
    assert share_of_rate(0, TRAINING) == 1.0
    assert share_of_rate(16_000, TRAINING) == pytest.approx(0.99, abs=1e-4)
