"""The evaluation card: what is missed stays visible, what is malformed is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app import REPOSITORY
from finetune.starter.card import SOURCES, write_card

STARTER = REPOSITORY / "models" / "packs" / "en-starter"


def row(part: str, metric: str, value: float, passed: bool | None) -> dict[str, Any]:
    """One line of an evaluation."""
    gate = None if passed is None else {"op": ">=", "value": 95.0}
    return {
        "part": part, "metric": metric, "value": value, "unit": "%", "n": 300, "n_unit": "requests",
        "interval": [90.0, 97.5], "gate": gate, "passed": passed, "note": "kept out",
    }  # fmt: skip


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack without weights."""
    (tmp_path / "pack").mkdir()
    shutil.copy(STARTER / "pack.toml", tmp_path / "pack")
    return tmp_path / "pack"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs of which the voice has not been measured."""
    for part, rows in {
        "recognizer": [row("recognizer", "words", 91.0, False), row("recognizer", "open sentences", 10.0, None)],
        "language": [row("language", "calls", 96.5, True)],
    }.items():
        (tmp_path / "runs" / part).mkdir(parents=True)
        (tmp_path / "runs" / part / "evaluation.json").write_text(json.dumps(rows))
    (tmp_path / "runs" / "language" / "facts.json").write_text('{"core_minutes": 12.5, "seed": 1}')
    return tmp_path / "runs"


def test_the_card_says_what_was_met_missed_and_not_measured(pack: Path, runs: Path) -> None:
    card = write_card(pack, runs)
    assert card["gates"] == {"met": 1, "of": 2}
    assert card["not_measured"] == ["voice"]
    assert card == json.loads((pack / "card.json").read_text())
    page = (pack / "card.md").read_text()
    assert "| words | 91 % | 90 to 97.5 | 300 requests | >= 95 % | **missed** |" in page
    assert "| calls | 96.5 % | 90 to 97.5 | 300 requests | >= 95 % | met |" in page
    assert "| open sentences | 10 % | 90 to 97.5 | 300 requests |  |  |" in page
    assert "## Voice\n\nNot measured." in page
    assert "core minutes 12.5, seed 1" in page


def test_every_source_is_in_the_notice_and_none_is_share_alike(pack: Path, runs: Path) -> None:
    write_card(pack, runs)
    notice = (pack / "NOTICE").read_text()
    for source in SOURCES:
        assert source.name in notice
        assert source.licence in notice
    assert not {word for source in SOURCES for word in ("GPL", "BY-SA", "NC") if word in source.licence}


@pytest.mark.parametrize("fault", [{"part": "voice"}, {"gate": None}, {"extra": 1}])
def test_malformed_rows_are_refused(pack: Path, runs: Path, fault: dict[str, Any]) -> None:
    rows = [{**row("language", "calls", 96.5, True), **fault}]
    (runs / "language" / "evaluation.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="evaluation"):
        write_card(pack, runs)


def test_a_pack_that_is_too_large_is_refused(pack: Path, runs: Path) -> None:
    with (pack / "model.bin").open("wb") as file:
        file.truncate(41_000_000)
    with pytest.raises(ValueError, match="expected at most 40"):
        write_card(pack, runs)
