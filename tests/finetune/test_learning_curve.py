"""A learning curve finds the law behind its points, says how sure it is, and goes on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune import learning_curve, recipe_process
from finetune.learning_curve_fit import answer, fit
from tests.finetune.tiny_chat import TINY

SHARES = (0.1, 0.25, 0.5, 1.0)


def law(share: float) -> float:
    return 0.05 + 0.2 * share**-0.5


def test_the_law_behind_the_points_is_found() -> None:
    errors = [law(share) for share in SHARES]
    sure, unsure = fit(SHARES * 3, errors * 3), fit(SHARES, errors)
    for curves in (sure, unsure):
        median, low, high = curves.errors(4)
        assert low < law(4) < high
        assert median == pytest.approx(law(4), rel=0.1)
    assert answer(sure, 0.15, "dev_wer", 0.25) == {
        "target": 0.15, "times": 4.082, "times_low": 3.103, "times_high": 9.385,
        "words": "dev_wer 0.15 takes about 4.1 times the data that is there (3.1 to 9.4 times, 95 %)",
    }  # fmt: skip
    said = answer(unsure, 0.15, "dev_wer", 0.25)["words"]
    assert said.startswith("dev_wer 0.15 takes about 5.4 times the data that is there, at the least 2.8 times (95 %); ")
    assert answer(sure, 0.3, "dev_wer", 0.25)["words"] == "dev_wer 0.3 is reached: 0.25 with the data that is there"


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(40):
        errors = [law(share) * float(np.exp(0.05 * draw.standard_normal())) for share in SHARES]
        _, low, high = fit(SHARES, errors).errors(2)
        held += low <= law(2) <= high
    assert held >= 36


def test_what_a_curve_cannot_tell_is_not_told() -> None:
    noisy = fit(SHARES, [0.5, 0.35, 0.42, 0.36])
    assert "cannot tell how much data dev_wer 0.2 takes" in answer(noisy, 0.2, "dev_wer", 0.35)["words"]
    flat = fit(SHARES, [0.5, 0.501, 0.5, 0.499])
    said = answer(flat, 0.1, "dev_wer", 0.5)
    assert said["words"] == "dev_wer 0.1 takes other means than data: even 100 times of it would not do"
    assert (said["times"], said["times_high"]) == (None, None)
    for amounts, errors in (((0.5, 1.0), (1.0, 0.5)), (SHARES, (0.3, 0.2, 0.1, 0.0))):
        with pytest.raises(ValueError, match="expected 3 amounts, errors above 0"):
            fit(amounts, errors)


def test_parts_are_trained_once_and_the_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[float] = []

    def train(recipe: str, made: Any, measure: str) -> dict[int, float]:
        """As a run that needs no time: the law, at its best in the second look."""
        share = made.training.data_share
        if len(trained) == 2:
            trained.append(0.0)
            raise KeyboardInterrupt
        trained.append(share)
        Path(made.run).mkdir(parents=True, exist_ok=True)
        facts = {
            "learnt": {"d.jsonl": {"rows": 400 * share, "seconds": 3600 * share}, "old": {"rows": 9, "seconds": 9}}
        }
        (Path(made.run) / "facts.json").write_text(json.dumps(facts))
        return {1: 9.0, 2: law(share), 3: 8.0}

    monkeypatch.setattr(recipe_process, "train", train)
    asked = ["language", "--config", str(TINY), "data=[d.jsonl]", f"run={tmp_path / 'run'}", "--measure", "dev_loss"]
    assert learning_curve.main([*asked, "--target", "0.15"]) == 130
    assert learning_curve.main([*asked, "--target", "0.15"]) == 0
    assert trained == [0.1, 0.25, 0.0, 0.5, 1.0]
    said = capsys.readouterr().out
    assert "share 0.25, seed 1: 0.45" in said
    assert "with 4 times the data (4 hours): dev_loss 0.1" in said
    assert "dev_loss 0.15 takes about " in said
    report = json.loads((tmp_path / "run-curve/curve.json").read_text())
    assert [(point["rows"], point["seconds"]) for point in report["points"]] == [
        (40, 360), (100, 900), (200, 1800), (400, 3600),
    ]  # fmt: skip
    assert (tmp_path / "run-curve/curve.svg").read_text().count("</svg>") == 1
    assert learning_curve.main([*asked, "--shares", "0.5,1"]) == 1
    assert "learning curve: got errors" in capsys.readouterr().err
    assert learning_curve.main([*asked, "--shares", "0,1"]) == 1
    assert "data_share: got 0.0, expected more than 0" in capsys.readouterr().err
