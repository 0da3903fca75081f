"""A dry run of the joint recipe: every stage and the rung before anything is trained, nothing written."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from finetune import config
from finetune.demos import foretold
from finetune.errors import RunError
from finetune.recipes import joint
from finetune.recipes.joint_config import Config
from tests.finetune.joint.tiny_joint import TINY, overrides, write_data

FEW = [
    f"{stage}.{key}={value}"
    for stage in ("recognizer.training", "language.training", "voice.training", "voice.vocoder", "noisy", "joint")
    for key, value in (("steps", 1), ("evaluate_every", 1), ("save_every", 1))
]
TOO_LITTLE = "limits.memory_gb=0.001"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_data(tmp_path_factory.mktemp("dry") / "data")


def made(run: Path, data: Path, *others: str) -> Config:
    return config.load(Config, TINY, overrides(run, data, *FEW, *others))


def rows_without_text(data: Path) -> list[str]:
    rows = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    return [json.dumps({**row, "text": ""}) + "\n" for row in rows if row["split"] == "train"]


def test_every_stage_is_told_before_anything_is_trained(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "unpaired.jsonl").write_text("".join(rows_without_text(data)))
    unpaired = (f"unpaired=[{data}/unpaired.jsonl]", "edges.unpaired.weight=0.5")
    joint.run(made(tmp_path / "run", data, *unpaired, "rung=every", TOO_LITTLE), dry_run=True)
    printed = capsys.readouterr().out
    stages = [
        "recognizer, first stage:", "language, first stage:", "voice, first stage:", "noisy, second stage:",
        "joint, third stage:", "finish, fourth stage:", "rung       every",
    ]  # fmt: skip
    places = [printed.index(stage) for stage in stages]
    assert places == sorted(places)
    for begin, end in itertools.pairwise(places):
        assert "minutes, export not counted" in printed[begin:end]
        assert "GB at the peak" in printed[begin:end]
    assert "minutes for the clips of dialogues, 0." in printed
    told = foretold.estimates(printed)
    assert list(told) == ["recognizer", "language", "vocoder", "voice", "noisy", "joint", "finish"]
    assert all(one.gigabytes > 0.1 for one in told.values())
    with pytest.raises(RunError, match="tells of 6 trainings, expected 7"):
        foretold.estimates(printed.replace("GB at the peak", "", 1))
    assert "every: asked for, though it takes" in printed
    assert list(tmp_path.iterdir()) == []


def test_the_rung_is_that_of_the_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joint.run(made(tmp_path / "run", data, TOO_LITTLE), dry_run=True)
    printed = capsys.readouterr().out
    assert "full: takes " in printed
    assert "GB where there are 0.00" in printed
    assert "staged: taken all the same, there is no lower one" in printed
    joint.run(made(tmp_path / "run", data, TOO_LITTLE))
    assert json.loads((tmp_path / "run/facts.json").read_text())["rung"] == "staged"
    trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    capsys.readouterr()
    joint.run(made(tmp_path / "run", data, "rung=staged"), dry_run=True)
    printed = capsys.readouterr().out
    assert "first stage" not in printed  # it is done
    assert "staged, as asked for: there are no further stages" in printed
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == trained
