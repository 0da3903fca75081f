"""What a voice reads: letters of a language and what is folded into them, a lexicon's phones, folders that are none."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from app.errors import PackError
from app.front_end import FrontEnd, by_characters, facts_of, read_front_end, spelled
from app.pronounce import LEXICON, PAUSE, RULES

GERMAN = frozenset("abcdefghijklmnopqrstuvwxyzäöüß")


def read(front: FrontEnd, text: str) -> list[str]:
    return ["".join(front.phones(word.word, "")) for word in front.words(text)]


def test_letters_are_the_languages_own_and_others_are_folded_into_them() -> None:
    front = by_characters("de", sorted(GERMAN), {})
    assert front.symbols[:3] == (PAUSE, "a", "b")
    assert read(front, "Größe: 2 Cafés, 'n Smørrebrød.") == ["größe", "zwei", "cafes", "n", "smorrebrod"]
    assert read(front, "Gro\u0308ße") == ["größe"]  # decomposed
    assert read(front, "Привет") == ["peeriveiete"]  # by the names of its letters, so that something is heard
    assert spelled("a中", frozenset("ab")) == "a中"


def test_an_apostrophe_is_said_where_it_is_a_letter() -> None:
    assert read(by_characters("gd", "abdhr'", {}), "a' bhàrd") == ["a'", "bhard"]


def test_english_is_read_by_english_rules_whatever_the_symbols() -> None:
    assert read(by_characters("en-GB", "abcdefghijklmnopqrstuvwxyz", {}), "12%") == ["twelve", "percent"]


def test_a_folder_says_how_it_reads(tmp_path: Path) -> None:
    front = by_characters("de", sorted(GERMAN), {"%": "prozente"})
    facts: dict[str, Any] = {"format": 2, **facts_of(front, "de", "characters", {"%": "prozente"})}
    again = read_front_end(tmp_path, facts)
    assert again.symbols == front.symbols
    assert read(again, "3%") == ["drei", "prozente"]
    with pytest.raises(PackError, match="expected characters or lexicon"):
        read_front_end(tmp_path, {**facts, "symbols": "runes"})
    with pytest.raises(PackError, match="expected characters and their words"):
        read_front_end(tmp_path, {**facts, "said": ["%"]})
    with pytest.raises(PackError, match="each once"):
        read_front_end(tmp_path, {**facts, "phones": ["a", "a"]})


def test_a_lexicon_and_its_letter_rules(tmp_path: Path) -> None:
    for name, rows in ((LEXICON, "haus\th aʊ s\n"), (RULES, "<a\ta\n<h\th\n<ss\ts\n<s\ts\n")):
        (tmp_path / name).write_bytes(gzip.compress(rows.encode()))
    facts = {"format": 2, "language": "de", "symbols": "lexicon", "phones": [PAUSE, "a", "aʊ", "h", "s"], "said": {}}
    front = read_front_end(tmp_path, facts)
    assert front.phones("haus", "") == ("h", "aʊ", "s")
    assert front.phones("hass", "") == ("h", "a", "s", "s")
