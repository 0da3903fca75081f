"""Two processes, which stand in for two GPUs, train the language recipe as one process with twice the batches does."""

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


def dev_losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["dev_loss"] for row in rows if "dev_loss" in row]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    changes = [
        f"base={write_base(tmp_path / 'base')}", f"data=[{write_data(tmp_path / 'data')}]", "training.steps=4",
        "training.evaluate_every=2", "rows=1", "export.form=adapter", "export.parity_prompts=1",
        "export.parity_tokens=1",
    ]  # fmt: skip
    port = str(free_port())
    processes = []
    for rank in ("0", "1"):  # as `accelerate launch` starts them
        shared = {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-m", "tests.finetune.tiny_chat", "-1", *changes, f"run={tmp_path / 'two'}"]
        environment = {**os.environ, **shared, "ACCELERATE_USE_CPU": "1"}
        processes.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment))
    alone = [*changes, f"run={tmp_path / 'one'}", "training.accumulate=2"]
    language.run(config.load(language.Config, TINY, alone))
    assert [process.wait() for process in processes] == [0, 0]
    assert dev_losses(tmp_path / "two") == pytest.approx(dev_losses(tmp_path / "one"), rel=TOLERANCE)
    one, two = (load_file(tmp_path / name / "export/adapter/adapter_model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5)
