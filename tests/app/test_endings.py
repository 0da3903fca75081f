"""Whether a text reads finished, by counts of sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.endings import count, read, write
from app.errors import PackError

SENTENCES = ["Set a timer for five minutes.", "Set a timer for two minutes", "What time is it?", "Stop.", "stop"] * 5
ENDINGS = count(SENTENCES)


@pytest.mark.parametrize("text", ["set a timer for five minutes", "What time is it", "stop"])
def test_whole_sentences_read_finished(text: str) -> None:
    assert ENDINGS.log_odds(text) > 1


@pytest.mark.parametrize("text", ["set a", "set a timer for", "what time", "Set a timer for five,"])
def test_parts_of_sentences_do_not(text: str) -> None:
    assert ENDINGS.log_odds(text) < -1


@pytest.mark.parametrize("text", ["", "zebra", "set a zebra", "..."])
def test_unknown_words_say_nothing(text: str) -> None:
    assert ENDINGS.log_odds(text) == 0


def test_a_list_is_kept_as_it_is(tmp_path: Path) -> None:
    write(ENDINGS, tmp_path / "endings.json")
    assert read(tmp_path / "endings.json") == ENDINGS


@pytest.mark.parametrize("text", ["", "[]", '{"words": {}}', '{"words": {"a": 1}, "pairs": {}}'])
def test_a_broken_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "endings.json").write_text(text)
    with pytest.raises(PackError, match=r"endings\.json is no list of endings"):
        read(tmp_path / "endings.json")


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"endings\.json is no list of endings"):
        read(tmp_path / "endings.json")
