"""`parley compare-adaptation` on a small language: arms as processes, killed and gone on with, the report of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import REPOSITORY
from finetune.compare import command
from finetune.compare.cell import RESULT
from finetune.loop import Training
from finetune.recipes.joint_heard import rest_of
from tests.finetune.compare import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    tiny.write_base(folder)
    tiny.write_config(folder)
    return folder


def cells(place: Path) -> dict[str, dict[str, Any]]:
    found = {path.parent.name: json.loads(path.read_text()) for path in (place / "grid").rglob(RESULT)}
    return {name: cell for name, cell in found.items() if cell}


def test_killed_between_arms_it_goes_on_and_reports(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(place / "compare.yaml")
    arms = "arms=[base, shared, joint]"
    program = [sys.executable, "-m", "tests.finetune.compare.tiny", config, "2", arms]
    assert subprocess.run(program, cwd=REPOSITORY, capture_output=True).returncode == -9
    before = {path: path.stat().st_mtime_ns for path in (place / "grid").rglob(RESULT)}
    assert {path.parent.name for path in before} == {"first-1", "base-as-it-is"}
    assert command.main(["--config", config, arms]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())  # not done again
    found = cells(place)
    assert set(found) == {"base-as-it-is", "shared-1", "joint-1"}
    assert "seconds" not in found["base-as-it-is"]
    for cell in found.values():
        assert (len(cell["clips"]), len(cell["replies"]), len(cell["old"])) == (6, 6, 2)
        assert {one["speaker"] for one in cell["replies"]} == {one["speaker"] for one in cell["clips"]}
        assert len({one["speaker"] for one in cell["clips"]}) == 3
    assert set(found["joint-1"]["seconds"]) >= {"recognizer", "language", "voice", "voice/vocoder", "joint"}
    report = json.loads((place / "grid/comparison.json").read_text())
    assert [row["arm"] for row in report["rows"]] == ["base", "shared", "joint"]
    assert report["sentence"].startswith("Ship ")
    assert any("round trip" in one for one in report["not_measured"])
    page = (place / "grid/comparison.html").read_text()
    assert report["sentence"] in page.replace("&lt;", "<").replace("&#x27;", "'")
    assert "data:image/svg+xml" in page
    assert "0 of 4 arms are to be trained" not in capsys.readouterr().out
    assert command.main(["--config", config, arms, "joint.recognizer.export.tie_nats=9"]) == 0
    assert "0 of 4 arms are to be trained and measured" in capsys.readouterr().out  # what exports are may be said anew


def test_another_comparison_in_the_folder_and_an_arm_that_fails_are_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(place / "compare.yaml")
    assert command.main(["--config", config, "arms=[base]", f"run={place}/other", "data=[nowhere.jsonl]"]) == 1
    assert "ended with status 1: " in capsys.readouterr().err
    assert command.main(["--config", config, "arms=[base]", f"run={place}/other"]) == 1
    assert "is another comparison: data: " in capsys.readouterr().err
    assert command.main(["--config", config, "arms=[best]"]) == 1
    assert "arms: got best, expected some of base, separate" in capsys.readouterr().err
    assert command.main(["--config", config, "joint.voice.base=models/packs/en-starter"]) == 1
    assert "expected one pack for all three" in capsys.readouterr().err


def test_the_clock_says_how_long_the_rest_takes() -> None:
    clock = command.Clock(3, at_once=1)
    assert clock.tick().startswith("2 left, about ")
    assert clock.tick().startswith("1 left, about ")


def test_the_joint_recipe_spends_what_hearing_leaves() -> None:
    training = Training(steps=1, learning_rate=1.0, budget_seconds=3.0)
    assert rest_of(training, 1.0).budget_seconds == 2.0
    assert rest_of(training, 5.0).budget_seconds == 0.001
    free = Training(steps=1, learning_rate=1.0)
    assert rest_of(free, 1.0) is free
