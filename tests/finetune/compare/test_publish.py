"""Figures in the document are those of a report, between markers that are there once."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.compare import publish
from finetune.errors import RunError

REPORT = {
    "sentence": "Ship it.", "table": "| data |\n| --- |\n| small |", "not_measured": ["the old language: none"],
    "facts": {"base": "a pack", "seeds": "1", "kept out": "left out here"},
    "stages": {
        "small joint 1": ["separate"], "small joint 2": ["separate", "joint"], "small joint 3": ["separate", "joint"],
        "small shared 1": ["separate"],
    },
}  # fmt: skip


def test_a_section_has_all_that_a_reader_needs() -> None:
    made = publish.section(REPORT, "small")
    assert made.startswith("**Ship it.**\n\n| data |")
    assert "- base a pack, seeds 1\n" in made
    assert "- stages that dev took in joint runs: separate, joint in 2; separate in 1\n" in made
    assert "- not measured: the old language: none\n" in made
    assert made.endswith("![comparison small](compare/small.svg)\n")


def test_the_brief_has_the_sizes_side_by_side() -> None:
    def row(size: str, arm: str, **values: float) -> dict[str, Any]:
        return {"size": size, "arm": arm, "figures": {name: {"rate": {"value": v}} for name, v in values.items()}}

    rows = [row("small", "base", wer=1.0), row("small", "joint", wer=0.5, reply_accuracy=0.25), row("big", "joint")]
    assert publish.brief({**REPORT, "rows": rows}).splitlines() == [
        "**Ship it.**",
        "",
        "| arm | right replies, %, small data | WER, %, small data | right replies, %, big data | WER, %, big data |",
        "| --- | --- | --- | --- | --- |",
        "| base |  | 100.0 |  |  |",
        "| joint | 25.0 | 50.0 |  |  |",
    ]


def test_it_goes_between_its_markers_again_and_again() -> None:
    text = "before\n<!-- comparison small -->\nold\n<!-- end of small -->\nafter"
    once = publish.replaced(text, "small", "new\n")
    assert once == "before\n<!-- comparison small -->\nnew\n<!-- end of small -->\nafter"
    assert publish.replaced(once, "small", "new\n") == once
    with pytest.raises(
        RunError, match="expected <!-- comparison other --> and <!-- end of other --> once each, got 0, 0"
    ):
        publish.replaced(text, "other", "new\n")


@pytest.mark.parametrize("name", ["language", "gaelic"])
def test_the_documents_have_the_markers(name: str) -> None:
    for document in (publish.DOCUMENT, publish.README):
        assert publish.replaced(document.read_text(encoding="utf-8"), name, "")
