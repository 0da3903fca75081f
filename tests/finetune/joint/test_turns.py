"""A language model shared out among two processes, which ask it unequally often, learns as in one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from finetune import checkpoint, shards
from finetune.errors import ConfigError
from finetune.joint.turns import evenly
from tests.finetune.joint import sharded_toy, tiny
from tests.finetune.joint.place import metrics
from tests.finetune.joint.test_joint_processes import TOLERANCE, two


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have trained."""
    folder = tmp_path_factory.mktemp("sharded")
    assert two("tests.finetune.joint.sharded_toy", str(folder)) == [0, 0]
    return folder


def test_a_shared_out_model_learns_as_in_one_process(place: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    made, progress = sharded_toy.train(tmp_path, accumulate=2)
    found = checkpoint.load(place / "unbroken/checkpoint.pt")
    for name, tensor in checkpoint.weights(made.models).items():
        torch.testing.assert_close(found["weights"][name], tensor, rtol=0, atol=TOLERANCE)
    assert found["progress"]["best"] == pytest.approx(progress.best, rel=TOLERANCE)
    for one, other in zip(metrics(tmp_path), metrics(place / "unbroken"), strict=True):
        same = one.keys() - {"edge_crossing_norm"}
        assert {name: other[name] for name in same} == pytest.approx({name: one[name] for name in same}, rel=1e-4)


def test_a_shared_out_model_goes_on_to_the_same_bits(place: Path) -> None:
    assert metrics(place / "broken") == metrics(place / "unbroken")
    one, other = (checkpoint.load(place / name / "checkpoint.pt") for name in ("broken", "unbroken"))
    assert all(torch.equal(one["weights"][name], tensor) for name, tensor in other["weights"].items())
    for number, state in other["optimizer"]["state"].items():
        assert all(torch.equal(one["optimizer"]["state"][number][name], value) for name, value in state.items())


def test_in_one_process_nothing_is_shared_out() -> None:
    chat = tiny.llama(11)
    shards.shard(chat, "cpu")
    assert not shards.sharded(chat)

    def losses(step: int, batch: object) -> dict[str, torch.Tensor]:
        return {}

    assert evenly(chat, losses) is losses


def test_what_cannot_be_shared_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="shard: got a Linear without a list of layers"):
        shards.shard(nn.Linear(1, 1), "cpu")
