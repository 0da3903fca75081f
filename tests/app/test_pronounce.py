"""Pronunciation of the starter's voice: lexicon, what derives from it, letter rules."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from app.errors import PackError
from app.pronounce import LEXICON, PHONES, RULES, Pronouncer, contexts, phone_places, read_pronouncer

VOICE = Path(__file__).parents[2] / "models" / "packs" / "en-starter" / "voice"


@pytest.fixture(scope="module")
def pronouncer() -> Pronouncer:
    return read_pronouncer(VOICE)


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("hello", "hh ah l ow"),
        ("twelve", "t w eh l v"),
        ("w", "d ah b ah l y uw"),
        ("kathleen's", "k ae th l iy n z"),
        ("steels", "s t iy l z"),
        ("nightlamp", "n ay t l ae m p"),
        ("c's", "s iy z"),
        ("xkcd", "eh k s k ey s iy d iy"),
    ],
)
def test_words(pronouncer: Pronouncer, word: str, phones: str) -> None:
    assert " ".join(pronouncer.phones(word)) == phones


def test_the_article_hears_the_next_word(pronouncer: Pronouncer) -> None:
    assert pronouncer.phones("the", "apple") == ("dh", "iy")
    assert pronouncer.phones("the", "pear") == ("dh", "ah")
    assert pronouncer.phones("a", "pear") == ("ah",)
    assert pronouncer.phones("a", "m") == ("ey",)  # a m: letters


@pytest.mark.parametrize("word", ["zorblax", "parley", "frobnicate", "qwrtz", "'", "ooo", "x'y'z"])
def test_any_word_gets_phones(pronouncer: Pronouncer, word: str) -> None:
    phones = pronouncer.phones(word)
    assert phones
    assert set(phones) <= set(PHONES)


def test_letter_rules_read_regular_words(pronouncer: Pronouncer) -> None:
    assert pronouncer.by_letters("stand") == ("s", "t", "ae", "n", "d")
    assert pronouncer.by_letters("nation")[-3:] == ("sh", "ah", "n")


def test_contexts_grow_to_the_right_first() -> None:
    assert contexts("cat", 1)[:4] == ["<a", "<at", "c<at", "c<at#"]


def test_places() -> None:
    assert phone_places(3) == [1, 0, 2]
    assert phone_places(1) == [3]


def test_a_broken_table_is_a_pack_error(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=LEXICON):
        read_pronouncer(tmp_path)
    (tmp_path / LEXICON).write_bytes(gzip.compress(b"a\tah\n"))
    (tmp_path / RULES).write_bytes(b"not gzip")
    with pytest.raises(PackError, match=RULES):
        read_pronouncer(tmp_path)
