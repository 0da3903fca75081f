"""Two processes, which stand in for two GPUs, train the language recipe as one process with twice the batches does.

So do two that share the model's layers out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from app import REPOSITORY
from app.supervisor import free_port
from finetune import config
from finetune.recipes import language
from tests.finetune.tiny_chat import TINY, write_base, write_data

TOLERANCE = 1e-4
"""Relative, of losses; sums of gradients are added in another order."""
RUNS = ("one", "two", "sharded")


def dev_losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["dev_loss"] for row in rows if "dev_loss" in row]


def started(changes: list[str]) -> list[subprocess.Popen[bytes]]:
    """The recipe in two processes, as `accelerate launch` starts them."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "1"}
    command = [sys.executable, "-m", "tests.finetune.tiny_chat", "-1", *changes]
    return [
        subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    changes = [
        f"base={write_base(tmp_path / 'base')}", f"data=[{write_data(tmp_path / 'data')}]", "training.steps=4",
        "training.evaluate_every=2", "rows=1", "export.form=adapter", "export.parity_prompts=1",
        "export.parity_tokens=1",
    ]  # fmt: skip
    two = started([*changes, f"run={tmp_path / 'two'}"])
    alone = [*changes, f"run={tmp_path / 'one'}", "training.accumulate=2"]
    language.run(config.load(language.Config, TINY, alone))
    assert [process.wait() for process in two] == [0, 0]
    assert [one.wait() for one in started([*changes, f"run={tmp_path / 'sharded'}", "shard=true"])] == [0, 0]
    adapters = {one: load_file(tmp_path / one / "export/adapter/adapter_model.safetensors") for one in RUNS}
    for run in RUNS[1:]:
        assert dev_losses(tmp_path / run) == pytest.approx(dev_losses(tmp_path / "one"), rel=TOLERANCE)
        for name, tensor in adapters["one"].items():
            torch.testing.assert_close(adapters[run][name], tensor, rtol=1e-3, atol=1e-5)
