"""README's performance section is what the published reports give."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bench.readme import BEGIN, END, PUBLISHED, README, replaced, section
from app.bench.report import Report, save
from app.errors import BadRequest


def test_readme_says_what_the_reports_say() -> None:
    text = README.read_text(encoding="utf-8")
    assert replaced(text, section(PUBLISHED)) == text, "run `python -m app.bench.readme`"


def test_a_section_has_table_notes_configuration_and_picture(tmp_path: Path) -> None:
    rows = [{"engine": "ours", "callers": 16, "latency_p95_ms": 123.4, "missing": 0}]
    folder = tmp_path / "docs" / "bench"
    save(Report("recognizer", {"cpu": "a CPU"}, rows, ["aim: met"], ["latency_p95_ms"]), folder)
    assert section(folder).splitlines() == [
        "`make bench-recognizer`",
        "",
        "| engine | callers | latency p95, ms |",
        "|---|---|---|",
        "| ours | 16 | 123 |",
        "",
        "- aim: met",
        "- cpu a CPU",
        "",
        "![bench recognizer](docs/bench/recognizer.svg)",
    ]


def test_only_what_stands_between_the_markers_changes() -> None:
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb\n", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(BadRequest, match="once each"):
        replaced("no markers", "new\n")
