"""Reports: what is shown, kept and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.bench import command
from app.bench.report import Report, load, machine, save, show, table

REPORT = Report(
    "gateway",
    {"cpu": "a CPU", "pack": "en-starter"},
    [
        {"engine": "ours", "callers": 1, "latency_p95_ms": 12.345, "missing": 0},
        {"engine": "ours", "callers": 16, "latency_p95_ms": 234.5, "missing": 2},
    ],
    ["aim: met"],
    ["latency_p95_ms", "missing"],
    ["16 callers: 2 turns had no answer"],
)


def test_a_report_shows_configuration_figures_and_notes() -> None:
    text = show(REPORT)
    assert "pack: en-starter" in text
    assert "aim: met" in text
    assert ["latency_p95_ms", "12.3", "234"] in [line.split() for line in text.splitlines()]


def test_few_figures_of_many_conditions_go_across() -> None:
    rows = [{"engine": name, "per_s": 1.5} for name in ("one", "two", "three")]
    assert [line.split() for line in table(rows)] == [
        ["engine", "per_s"],
        ["one", "1.5"],
        ["two", "1.5"],
        ["three", "1.5"],
    ]


def test_what_is_saved_is_loaded_and_drawn(tmp_path: Path) -> None:
    path = save(REPORT, tmp_path / "new")
    assert load(path) == REPORT
    assert json.loads(path.read_text())["configuration"]["cpu"] == "a CPU"
    picture = path.with_suffix(".svg").read_text()
    assert "<svg" in picture
    save(REPORT, tmp_path / "again")
    assert (tmp_path / "again" / "gateway.svg").read_text() == picture


def test_conditions_without_callers_are_drawn_as_bars(tmp_path: Path) -> None:
    rows = [{"engine": "stock", "callers": 4, "rtf": 0.5}, {"engine": "ours", "callers": 4, "rtf": 0.1}]
    assert save(Report("recognizer", {}, rows), tmp_path).with_suffix(".svg").is_file()


def test_the_machine_is_described() -> None:
    assert {"cpu", "cores", "python", "commit", "load_before", "numpy"} <= set(machine())


def test_an_unknown_bench_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["speed"])
    assert "no bench 'speed'; there are: talk" in capsys.readouterr().err


def test_an_error_of_ours_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["talk", "--url", "http://192.0.2.1", "--out", str(tmp_path)]) == 1
    assert "expected a loopback address" in capsys.readouterr().err
    assert command.main(["--callers", "none", "--out", str(tmp_path)]) == 1
    assert "got none callers" in capsys.readouterr().err
