"""Gaelic phrases as requests whose replies are what their clips are named after."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.compare import gaelic
from finetune.data.rows import Utterance
from finetune.errors import RunError


def phrase(name: str, text: str, split: str) -> Utterance:
    return Utterance(name, f"{name}.flac", text, "gd", "someone", 1.0, "made up", "CC0-1.0", "yes", split)


ROWS = [
    phrase("gd-word-bee", "seillean beag", "train"), phrase("gd-word-ice_cream", "reòiteag", "test"),
    phrase("gd-word-angel", "aingeal bheag", "dev"), phrase("gd-intro-chess", "cluich", "train"),
]  # fmt: skip


def test_all_texts_but_those_of_dev_are_learnt_and_only_recordings_are_kept_out() -> None:
    learnt = {row.id: (row.split, row.turns[0].text, row.turns[1].text) for row in gaelic.learnt(ROWS)}
    assert learnt == {
        "gd-word-bee": ("train", "seillean beag", "bee"),
        "gd-word-ice_cream": ("train", "reòiteag", "ice cream"),
        "gd-word-angel": ("dev", "aingeal bheag", "angel"),
    }
    assert [(row.id, row.split) for row in gaelic.tested(ROWS)] == [("gd-word-ice_cream", "test")]


def test_without_the_recordings_it_says_where_they_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gaelic, "PHRASES", tmp_path / "manifest.jsonl")
    with pytest.raises(RunError, match=r"expected what `python -m finetune.demos.gaelic data` imports"):
        gaelic.main()
