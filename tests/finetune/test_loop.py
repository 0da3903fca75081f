"""The training loop: the same result after kill -9, however a step is cut, and what stays on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import torch
from torch import nn

from app import REPOSITORY
from app.supervisor import free_port
from finetune import checkpoint, dry_run
from finetune.demos import foretold
from finetune.errors import CheckpointError, RunError, TrainingError
from finetune.loop import Task, Training, share_of_rate
from finetune.run import open_run, read_metrics
from tests.finetune.toy import TRAINING, Config, Network, batch, dev, open_toy, plain_task, task, train_toy


def state_of(folder: Path) -> dict[str, Any]:
    return checkpoint.load(folder / "checkpoint.pt")


def measured(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    progress, made = train_toy(tmp_path / "unbroken")
    for kill in ("8", "13"):  # after the checkpoints of steps 5 and 10
        command = [sys.executable, "-m", "tests.finetune.toy", str(tmp_path / "killed"), kill]
        assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == -9
    assert state_of(tmp_path / "killed")["progress"]["step"] == 10
    resumed, other = train_toy(tmp_path / "killed")
    assert same(state_of(tmp_path / "unbroken"), state_of(tmp_path / "killed"))
    assert same(made.model.state_dict(), other.model.state_dict())
    assert measured(tmp_path / "unbroken") == measured(tmp_path / "killed")
    assert resumed == progress
    kept = {path.name for path in (tmp_path / "killed/best").iterdir()}
    assert kept == {f"step-{step:06d}.pt" for step in progress.best}
    assert len(kept) == TRAINING.keep_best
    assert (tmp_path / "killed/curves.svg").stat().st_size > 1000


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    train_toy(tmp_path)
    before = state_of(tmp_path)
    train_toy(tmp_path)
    assert same(before, state_of(tmp_path))


def test_a_step_does_not_depend_on_how_it_is_cut(tmp_path: Path) -> None:
    def trained(name: str, parts: int) -> torch.Tensor:
        _, made = train_toy(tmp_path / name, plain_task(4 // parts), steps=6, accumulate=parts)
        return next(made.model.parameters()).detach()

    torch.testing.assert_close(trained("whole", 1), trained("cut", 4))


def two_processes(folder: Path, kill: int) -> list[int]:
    """Trains the plain toy in two processes that share each step, as `accelerate launch` starts them."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "1"}
    command = [sys.executable, "-m", "tests.finetune.toy", str(folder), str(kill), "plain"]
    running = [
        subprocess.Popen(
            command, cwd=REPOSITORY, env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}, stderr=PIPE
        )
        for rank in ("0", "1")
    ]
    for process in running:
        process.communicate()
    return [process.returncode for process in running]


def test_two_processes_train_as_one_and_resume_to_the_same_bits(tmp_path: Path) -> None:
    assert two_processes(tmp_path / "unbroken", -1) == [0, 0]
    assert -9 in two_processes(tmp_path / "killed", 12)  # the other one may die of that
    assert state_of(tmp_path / "killed")["progress"]["step"] == 10
    assert two_processes(tmp_path / "killed", -1) == [0, 0]
    unbroken = state_of(tmp_path / "unbroken")
    assert same(unbroken, state_of(tmp_path / "killed"))
    assert (unbroken["processes"], len(unbroken["chance"])) == (2, 2)
    _, alone = train_toy(tmp_path / "alone", plain_task(), accumulate=2 * TRAINING.accumulate)
    torch.testing.assert_close(unbroken["weights"], state_of(tmp_path / "alone")["weights"])
    with pytest.raises(TrainingError, match="is of 2 processes, expected as many, got 1"):
        train_toy(tmp_path / "killed", alone)


def test_training_stops_where_dev_gets_no_better(tmp_path: Path) -> None:
    worse = iter(range(100))
    made = task()
    made = Task(made.model, made.batch, made.loss, lambda _: {"dev_loss": abs(next(worse) - 1)})  # best at the second
    progress, _ = train_toy(tmp_path, made, steps=1000, patience=2, keep_best=1)
    assert (progress.step, progress.done, progress.best) == (16, True, {8: 0})
    facts = open_toy(tmp_path, Training(**{**vars(TRAINING), "steps": 1000, "patience": 2, "keep_best": 1})).facts()
    assert (facts["steps"], facts["best_step"], facts["best_on_dev"]) == (16, 8, 0)
    assert facts["memory"] > 50e6  # bytes; torch alone takes more


def test_of_weights_that_dev_likes_alike_the_last_are_taken(tmp_path: Path) -> None:
    made = task()
    progress, _ = train_toy(tmp_path, Task(made.model, made.batch, made.loss, lambda _: {"dev_wer": 0.5}), keep_best=1)
    assert progress.best == {progress.step: 0.5}


def test_what_a_run_took_is_read_from_its_folder(tmp_path: Path) -> None:
    train_toy(tmp_path / "run", steps=foretold.STEPS, log_every=1)
    took = foretold.measured(tmp_path / "run")
    assert 0 < took.seconds < 60
    assert took.gigabytes > 0.05
    train_toy(tmp_path / "short", steps=2)
    with pytest.raises(RunError, match=f"steps, expected {foretold.STEPS}"):
        foretold.measured(tmp_path / "short")


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    made = task()
    with pytest.raises(TrainingError, match=r"the loss of batches .* is nan, expected a number"):
        train_toy(tmp_path / "a", Task(made.model, made.batch, lambda m, x: (m(x).sum() * float("nan"), 1.0), dev))
    with pytest.raises(TrainingError, match="nothing to learn from"):
        train_toy(tmp_path / "b", Task(made.model, made.batch, lambda m, x: (m(x).sum() * 0, 0.0), dev))


@pytest.mark.parametrize(("schedule", "half"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_learning_rate(schedule: Any, half: float) -> None:
    training = Training(steps=12, learning_rate=1.0, warm_up_steps=2, schedule=schedule)
    assert [share_of_rate(step, training) for step in (0, 1, 2)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert share_of_rate(7, training) == pytest.approx(half)


def test_run_folders_are_continued_only_by_their_own_run(tmp_path: Path) -> None:
    open_toy(tmp_path, resume=False)
    with pytest.raises(RunError, match="has been used; --resume"):
        open_toy(tmp_path, resume=False)
    with pytest.raises(RunError, match="is a run of recipe toy, expected other"):
        open_run(tmp_path, "other", Config("", TRAINING), data={"train": "0"}, seed=1, resume=True)
    with pytest.raises(RunError, match=r"a run on other data: train: '0' -> '1'"):
        open_run(tmp_path, "toy", Config("", TRAINING), data={"train": "1"}, seed=1, resume=True)
    with pytest.raises(RunError, match=r"another configuration: training\.steps: 24 -> 9"):
        open_toy(tmp_path, Training(**{**vars(TRAINING), "steps": 9}))
    facts = open_toy(tmp_path).facts()
    assert facts["seed"] == 1
    assert facts["libraries"]["torch"] == torch.__version__


def test_measurements_of_a_cut_line_are_left_out(tmp_path: Path) -> None:
    run = open_toy(tmp_path)
    run.metrics.write_text('{"step": 3, "seconds": 1}\n{"step": 6, "seconds": 2}\n{"step": 9, "sec')
    assert [row["step"] for row in read_metrics(run)] == [3, 6]
    assert [row["step"] for row in read_metrics(run, until=3)] == [3]


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        checkpoint.load(tmp_path / "cut.pt")
    saved = checkpoint.weights(Network())
    assert not any(name.startswith("frozen") for name in saved)
    with pytest.raises(CheckpointError, match="only in one of the two"):
        checkpoint.restore_weights(nn.Linear(8, 1), saved, "x")
    with pytest.raises(CheckpointError, match=r"has shape \(1, 7\), expected \(1, 8\)"):
        checkpoint.restore_weights(Network(), {**saved, "layers.2.weight": torch.zeros(1, 7)}, "x")


def test_a_dry_run_measures_and_writes_nothing(tmp_path: Path) -> None:
    estimate = dry_run.estimate(task(batch), TRAINING)
    assert estimate.trained == 8 + 8 + 8 + 1
    assert estimate.parameters == estimate.trained + 4 * 8 + 8
    assert estimate.seconds_a_step > 0
    assert "steps      24," in dry_run.show(estimate, TRAINING)
    assert not list(tmp_path.iterdir())
