"""Two processes, which stand in for two GPUs, train several models as one process with twice the batches does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from app import REPOSITORY
from app.supervisor import free_port
from finetune import checkpoint, config, processes
from finetune.errors import ConfigError
from finetune.recipes import joint
from tests.finetune.joint import joint_toy
from tests.finetune.joint.place import metrics
from tests.finetune.joint.tiny_joint import TINY

TOLERANCE = 1e-5
"""Of weights and losses; sums of gradients are added in another order."""


def two(module: str, *arguments: str) -> list[int]:
    """Exit statuses of a program in two processes, as `accelerate launch` starts them."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **shared, "OMP_NUM_THREADS": "1", "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]
    return [process.wait() for process in started]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have trained."""
    folder = tmp_path_factory.mktemp("toy")
    assert two("tests.finetune.joint.joint_toy", str(folder)) == [0, 0]
    return folder


def test_two_processes_train_as_one_with_an_edge_in_one_of_them_alone(place: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    made, progress = joint_toy.train(tmp_path, accumulate=2)
    found = checkpoint.load(place / "unbroken/checkpoint.pt")
    for name, tensor in checkpoint.weights(made.models).items():
        torch.testing.assert_close(found["weights"][name], tensor, rtol=0, atol=TOLERANCE)
    assert torch.equal(found["weights"]["unmet.weight"], joint_toy.task().models.state_dict()["unmet.weight"])
    assert found["progress"]["best"] == pytest.approx(progress.best, abs=TOLERANCE)
    for one, other in zip(metrics(tmp_path), metrics(place / "unbroken"), strict=True):
        assert one.keys() == other.keys()
        same = one.keys() - {"edge_crossing_norm"}  # of all that crosses, and the mean of what crosses in each
        assert {name: other[name] for name in same} == pytest.approx({name: one[name] for name in same}, abs=TOLERANCE)


def test_two_processes_that_were_interrupted_go_on_to_the_same_bits(place: Path) -> None:
    assert metrics(place / "broken") == metrics(place / "unbroken")
    one, other = (checkpoint.load(place / name / "checkpoint.pt")["weights"] for name in ("broken", "unbroken"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_dry_run_takes_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--dry-run of joint: got 2 processes, expected one"):
        joint.run(config.load(joint.Config, TINY), dry_run=True)


def test_one_process_alone_agrees_with_itself() -> None:
    processes.wait()
    assert processes.agreed({"a": 1}) == {"a": 1}
    assert processes.mean({"a": 1.0}) == {"a": 1.0}
