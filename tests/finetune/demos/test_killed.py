"""What a killed run is compared by: measurements without their times, and the bytes of exports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune.demos import killed
from finetune.errors import RunError


def write_run(folder: Path, loss: float = 1.0, seconds: float = 2.0, weights: bytes = b"w") -> Path:
    """A run of a network that has one more inside."""
    for part in (folder, folder / "vocoder"):
        (part / "export/voice").mkdir(parents=True)
        row = {"step": 1, "seconds": seconds, "loss": loss}
        (part / "metrics.jsonl").write_text(json.dumps(row) + '\n{"step": 2')  # the last one is being written
        (part / "export/voice/model").write_bytes(weights)
    return folder


def test_times_may_differ_and_nothing_else(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one")
    assert [len(rows) for rows in killed.measured(one).values()] == [1, 1]
    assert killed.differences(one, write_run(tmp_path / "slow", seconds=9.0)) == []
    assert killed.differences(one, write_run(tmp_path / "loss", loss=1.5)) == [
        "metrics.jsonl differs", "vocoder/metrics.jsonl differs",
    ]  # fmt: skip
    assert killed.differences(one, write_run(tmp_path / "bytes", weights=b"v")) == [
        "export/voice/model differs", "vocoder/export/voice/model differs",
    ]  # fmt: skip
    assert len(killed.differences(one, tmp_path / "none")) == 4


def test_a_run_that_ends_by_itself_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="exit status 7, expected 0"):
        killed.finish(["sh", "-c", "exit 7"], tmp_path / "run")
    with pytest.raises(RunError, match="exit status 7 before it was killed"):
        killed.kill(["sh", "-c", "exit 7"], tmp_path / "run", 1)


def test_a_run_is_killed_once_it_has_measured_enough(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    killed.kill(["sh", "-c", f'echo "{{}}" >> {run}/metrics.jsonl; sleep 1000'], run, 1)
    assert killed.measured(run) == {"metrics.jsonl": [{"seconds": None}]}
