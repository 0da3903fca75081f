"""A search tries, prunes, goes on after a kill with what it would have tried, and says what was best."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune import config, recipe_process, search
from finetune.command import main
from finetune.errors import ConfigError, RunError, TrainingError
from finetune.recipes import language
from tests.finetune.tiny_chat import TINY, write_base, write_data

KEYS = {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "lora.r": {"choices": [4, 8]}}


def write_search(folder: Path, **changes: Any) -> Path:
    values = {"folder": str(folder / "search"), "trials": 5, "measure": "dev_loss", "keys": KEYS, **changes}
    (folder / "search.yaml").write_text(yaml.safe_dump(values))
    return folder / "search.yaml"


def falling(trained: list[Any], die_in: int = -1) -> Callable[..., dict[int, float]]:
    """A training that needs no time: the measure falls to the rate's distance from 0.01; notes what it was given."""

    def train(recipe: str, made: Any, measure: str, watch: Callable[[Mapping[int, float]], bool]) -> dict[int, float]:
        if len(trained) == die_in:
            raise KeyboardInterrupt
        trained.append((made.run, made.training.learning_rate, made.lora.r))
        measured: dict[int, float] = {}
        for step in (1, 2, 3):
            measured[step] = abs(made.training.learning_rate - 0.01) + 1 / step
            if not watch(measured):
                break
        return measured

    return train


def search_with(path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[Any], die_in: int = -1) -> None:
    monkeypatch.setattr(recipe_process, "train", falling(trained, die_in))
    search.run("language", language.Config, TINY, ["rows=3"], path)


def test_the_best_of_many_is_written_and_bad_ones_are_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search_with(write_search(tmp_path, pruning_after=2, trials=7), monkeypatch, [])
    rows = json.loads((tmp_path / "search/trials.json").read_text())
    states = [row["state"] for row in rows]
    assert states[:2] == ["complete"] * 2
    assert "pruned" in states
    best = min((row for row in rows if row["value"] is not None), key=lambda row: row["value"])
    made = config.load(language.Config, tmp_path / "search/best.yaml")
    assert made.training.learning_rate == best["keys"]["training.learning_rate"]
    assert (made.lora.r, made.rows, made.run) == (best["keys"]["lora.r"], 3, "runs/finetune/language-tiny")
    assert f"trial {best['trial']}, dev_loss" in capsys.readouterr().out
    assert (tmp_path / "search/trials.svg").read_text().count("</svg>") == 1


def test_a_killed_search_goes_on_as_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken").mkdir()
    unbroken: list[Any] = []
    search_with(write_search(tmp_path), monkeypatch, unbroken)
    broken: list[Any] = []
    path = write_search(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        search_with(path, monkeypatch, broken, die_in=3)
    search_with(path, monkeypatch, broken)
    assert [values for _, *values in broken] == [values for _, *values in unbroken]
    assert broken[3][0] == str(tmp_path / "broken/search/trial-003")
    more: list[Any] = []
    search_with(write_search(tmp_path / "broken", trials=6), monkeypatch, more)
    assert len(more) == 1
    with pytest.raises(RunError, match=r"is another search: seed: 1 -> 2"):
        search_with(write_search(tmp_path / "broken", seed=2), monkeypatch, more)


def test_trials_are_runs_of_the_recipe_and_may_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, data = write_base(tmp_path / "base"), write_data(tmp_path / "data")
    overrides = [
        f"base={base}", f"data=[{data}]", "training.steps=2", "training.evaluate_every=1", "rows=2",
        "export.form=adapter", "export.parity_prompts=1", "export.parity_tokens=1",
    ]  # fmt: skip
    keys = {"lora.target_modules": {"choices": [["q_proj"], ["nothing"]]}}
    path = write_search(tmp_path, trials=2, keys=keys, seed=3)
    assert main(["language", "--config", str(TINY), *overrides, "--search", str(path)]) == 0
    rows = json.loads((tmp_path / "search/trials.json").read_text())
    by_state = {row["state"]: row for row in rows}
    assert "lora: the base has no module nothing" in by_state["fail"]["error"]
    run = tmp_path / f"search/trial-{by_state['complete']['trial']:03d}"
    assert json.loads((run / "facts.json").read_text())["best_on_dev"] == by_state["complete"]["value"]
    assert "best of 1: trial" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"measure: got 'dev_wer', expected one that .* writes: dev_loss, grad"):
        recipe_process.of_finished(run, "dev_wer")


def test_what_cannot_be_searched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for keys, said in (
        ({"training.rate": {"choices": [1]}}, r"keys: got training\.rate, expected a key of the recipe's"),
        ({"rows": {"low": 4}}, r"keys\.rows\.low: got 4\.0, with high None and choices \[\], expected low and high"),
        ({"rows": {"low": 4, "high": 2}}, r"keys\.rows\.low: got 4 to 2, expected from less to more"),
        ({"rows": 4}, r"keys\.rows: got 4, expected keys below it"),
        ([], r"keys: got \[\], expected keys below it"),
    ):
        with pytest.raises(ConfigError, match=said):
            search_with(write_search(tmp_path, keys=keys), monkeypatch, [])
    with pytest.raises(SystemExit):
        main(["language", "--config", str(TINY), "--search", "s.yaml", "--dry-run"])
    keys = {"training.steps": {"low": -2, "high": -1}}
    with pytest.raises(TrainingError, match=r"all 1 trials of .* failed; the last one: .*steps: got -\d, expected 1"):
        search_with(write_search(tmp_path, keys=keys, trials=1), monkeypatch, [])
