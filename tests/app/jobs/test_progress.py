"""A run folder as measurements, how far it is, checkpoints, results; of one network and of several."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from app.jobs import progress


def write_part(folder: Path, when: int, configuration: dict[str, Any], *steps: int) -> None:
    """A folder that a recipe has measured in, `when` in seconds."""
    (folder / "best").mkdir(parents=True)
    rows = [{"step": step, "seconds": step * 2.0, "loss": 1.0 / step} for step in steps]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 9')
    (folder / "facts.json").write_text(json.dumps({"configuration": configuration}))
    (folder / "config.yaml").touch()
    os.utime(folder / "metrics.jsonl", (when, when))
    (folder / "best" / f"step-{steps[-1]:06d}.pt").touch()
    os.utime(folder / "best" / f"step-{steps[-1]:06d}.pt", (when, when))


def test_a_voice_is_two_networks_one_after_the_other(tmp_path: Path) -> None:
    write_part(tmp_path, 9, {"training": {"steps": 8}}, 1, 2, 3, 4)
    write_part(tmp_path / "vocoder", 5, {"steps": 4}, 1, 2)
    measured = progress.rows(tmp_path)
    assert [(row.get("stage"), row["step"], row["total_steps"]) for row in measured] == [
        ("vocoder", 1, 4), ("vocoder", 2, 4), (None, 1, 8), (None, 2, 8), (None, 3, 8), (None, 4, 8),
    ]  # fmt: skip
    assert progress.latest(tmp_path) == {"stage": None, "step": 4, "total_steps": 8}
    assert progress.seconds_left(measured) == 8.0  # 4 steps at 2 s
    assert progress.seconds_left(measured[:2]) is None  # another network is to come
    assert len(progress.events_of(measured)) == 6
    assert progress.events_of(measured) == progress.events_of([*measured, *measured])
    found = {(one.stage, one.step): one.metrics for one in progress.checkpoints(tmp_path)}
    assert found == {
        ("", 4): {"step": 4, "seconds": 8.0, "train_loss": 0.25},
        ("vocoder", 2): {"step": 2, "seconds": 4.0, "train_loss": 0.5},
    }
    names = [str(path.relative_to(tmp_path)) for path in progress.results(tmp_path)]
    assert names[:4] == ["config.yaml", "facts.json", "metrics.jsonl", "vocoder/config.yaml"]


def test_a_joint_run_has_runs_in_it(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text("{}")
    write_part(tmp_path / "voice/vocoder", 1, {"steps": 4}, 4)
    write_part(tmp_path / "voice", 2, {"training": {"steps": 6}}, 6)
    write_part(tmp_path / "joint", 3, {"steps": 9}, 5)
    stages = [(row["stage"], row["total_steps"]) for row in progress.rows(tmp_path)]
    assert stages == [("voice/vocoder", 4), ("voice", 6), ("joint", 9)]
    assert progress.latest(tmp_path) == {"stage": "joint", "step": 5, "total_steps": 9}
    assert progress.results(tmp_path)[0] == tmp_path / "facts.json"


def test_how_far_a_long_run_is_needs_only_its_end(tmp_path: Path) -> None:
    write_part(tmp_path, 1, {}, *range(1, 2000))
    size = progress.measured_bytes(tmp_path)
    assert size > progress.LAST_BYTES
    assert progress.latest(tmp_path) == {"stage": None, "step": 1999, "total_steps": None}
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("\n")
    assert progress.measured_bytes(tmp_path) == size + 1


def test_nothing_is_measured_yet(tmp_path: Path) -> None:
    assert (progress.rows(tmp_path), progress.latest(tmp_path)) == ([], None)
    assert (progress.seconds_left([]), progress.measured_bytes(tmp_path)) == (None, 0)
