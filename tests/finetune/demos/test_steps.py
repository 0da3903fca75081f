"""What the demonstrations make of reports: figures before and after, tables, results that are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import REPOSITORY
from app.packs import read_pack
from finetune import config
from finetune.data.manifest import write_manifest
from finetune.data.rows import Utterance
from finetune.demos import digits, gaelic, german, steps
from finetune.errors import RunError
from finetune.recipes import language_config, recognizer_config

REPORT: dict[str, Any] = {
    "pack": "de-demo@1",
    "figures": [
        {"part": "recognizer", "metric": "wer_de", "value": 0.12, "interval": [0.1, 0.15], "n": 900, "n_unit": "words"},
        {"part": "recognizer", "metric": "wer_de_change", "value": -0.9},
        {"part": "recognizer", "metric": "wer_en", "value": 0.1, "interval": [0.08, 0.2], "n": 500, "n_unit": "words"},
        {"part": "recognizer", "metric": "old_language_wer_en_change", "value": 0.005},
        {"part": "language", "metric": "chrf", "value": 90.0},
    ],
    "replies": [
        {"gold": "Ja", "text": "Ja"}, {"gold": "Ja", "text": "Nein"}, {"gold": "22 Grad", "text": "22 Grad"},
    ],
}  # fmt: skip


def test_before_and_after() -> None:
    found = steps.before_and_after(REPORT, "wer_de", "wer_de_change")
    assert found == {"before": 102.0, "after": 12.0, "interval": [10.0, 15.0], "n": 900, "n_unit": "words"}
    with pytest.raises(RunError, match="report of de-demo@1 has no cer_de of the recognizer, expected one"):
        steps.before_and_after(REPORT, "cer_de", "cer_de_change")


def test_results_are_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    assert steps.note("demo", one=1) == {"one": 1}
    assert steps.note("demo", two="ü") == {"one": 1, "two": "ü"}
    assert json.loads((tmp_path / "demo/results.json").read_text()) == {"one": 1, "two": "ü"}


def test_a_failed_command_ends_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"parley packs show no-such-pack: exit status 1, expected \(0,\)"):
        steps.parley("packs", "show", "no-such-pack")
    monkeypatch.delenv("PARLEY_DATA", raising=False)
    with pytest.raises(RunError, match="PARLEY_DATA is not set"):
        steps.corpora()


def test_table_of_the_german_demonstration() -> None:
    found = german.figures(REPORT)
    assert found["replies"] == {"exact": 66.7, "chrf": 90.0, "n": 3}
    table = german.shown({**found, "reader": found["generated"]})
    assert "| German, kept-out sentences and voices | 900 | 102.0 | 12.0 (10.0 to 15.0) | <= 15 |" in table
    assert "| English, with rehearsal | 500 | 9.5 | 10.0 (8.0 to 20.0) | <= 1 more |" in table
    assert "without rehearsal" not in table


def test_table_of_the_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"before": 80.0, "after": 10.0, "interval": [8.0, 12.0], "n": 250, "n_unit": "words"}
    table = digits.shown({"anna": one, "ben": {**one, "before": 100.0, "after": 20.0}})
    assert table.splitlines()[2] == "| anna | 250 | 80.0 | 10.0 |"
    assert table.splitlines()[-1].startswith("| all | 500 | 90.0 | 15.0 (10.0 to 20.0)")
    monkeypatch.setattr(digits, "FOLDER", tmp_path)
    rows = [
        Utterance(name, f"{name}.wav", "one", "en", name, 0.5, "made for a test", "CC0-1.0", "test", split)
        for name, split in (("anna", "train"), ("ben", "dev"), ("carl", "test"))
    ]
    write_manifest(digits.manifest(2), rows)
    assert digits.speaker(2) == "carl"


def test_configurations_are_the_recipes_own() -> None:
    tiny = REPOSITORY / "finetune/configs"
    for overrides in (
        german.REHEARSED,
        german.FORGETFUL,
        (*digits.TRAINING, "data=[a]"),
        (*gaelic.TRAINING, "data=[a]"),
    ):
        config.load(recognizer_config.Config, tiny / "recognizer_tiny.yaml", ["run=x", *overrides])
    config.load(language_config.Config, tiny / "language_tiny.yaml", ["run=x", *german.LANGUAGE])


@pytest.mark.parametrize("name", ["german", "gaelic"])
def test_settings_are_a_packs(name: str, tmp_path: Path) -> None:
    settings = (REPOSITORY / f"finetune/demos/{name}.toml").read_text(encoding="utf-8")
    (tmp_path / "pack.toml").write_text(settings, encoding="utf-8")
    pack = read_pack(tmp_path)
    assert pack.recognizer.trained_short
    assert not pack.language_model.tools
    assert not pack.recognizer.second_opinion
