"""How a voice reads: text to words, words to the symbols that its network knows. Knows no network and no audio.

English voices have a lexicon with rules of that language (`pronounce`); those of other languages their letters, or a
lexicon and letter rules without more.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from app.errors import PackError
from app.letters import plain
from app.pronounce import PAUSE, PHONES, Phones, Pronouncer, read_pronouncer
from app.spoken import SpokenWord, spoken_words
from app.spoken_any import base, words_of

Symbols = Literal["characters", "lexicon"]


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """One voice's reading of texts; shared and never changed."""

    words: Callable[[str], list[SpokenWord]]
    """Words of a text, each with its place in it."""
    phones: Callable[[str, str], Phones]
    """A word and the one after it to symbols; empty for a word without anything that can be said."""
    symbols: tuple[str, ...]
    """What the network knows, PAUSE first; numbers begin with 1."""


def english(pronouncer: Pronouncer) -> FrontEnd:
    """The starter's: 39 phones."""
    return FrontEnd(spoken_words, pronouncer.phones, PHONES)


def by_characters(language: str, letters: Sequence[str], said: Mapping[str, str]) -> FrontEnd:
    """Symbols are the language's letters; those of other alphabets lose their marks, or become Latin ones."""
    known = frozenset(letters)
    return FrontEnd(
        _words(language, said),
        lambda word, following: tuple(letter for letter in spelled(word, known) if letter in known),
        (PAUSE, *letters),
    )


def by_lexicon(language: str, pronouncer: Pronouncer, phones: Sequence[str], said: Mapping[str, str]) -> FrontEnd:
    """Symbols are a lexicon's phones; words that it lacks are read by the letter rules learnt from it."""
    return FrontEnd(
        _words(language, said),
        lambda word, following: pronouncer.listed(word) or pronouncer.by_letters(word),
        (PAUSE, *phones),
    )


def spelled(word: str, letters: frozenset[str]) -> str:
    """A word in the given letters as far as they go: composed, else without marks, else in Latin letters.

    Characters that remain unknown stay in the result.
    """
    found = ""
    for letter in unicodedata.normalize("NFC", word):
        if letter not in letters:
            ways = (bare(letter), "".join(plain(letter)) if letter.isalpha() else "")
            letter = next((way for way in ways if way and letters.issuperset(way)), "" if letter == "'" else letter)
        found += letter
    return found


def bare(letter: str) -> str:
    """A letter without its marks: é -> e."""
    return "".join(c for c in unicodedata.normalize("NFD", letter) if not unicodedata.combining(c))


def facts_of(front: FrontEnd, language: str, symbols: Symbols, said: Mapping[str, str]) -> dict[str, Any]:
    """What voice.json says of a front end, which `read_front_end` reads again."""
    return {"language": language, "symbols": symbols, "phones": list(front.symbols), "said": dict(said)}


def read_front_end(folder: Path, facts: Mapping[str, Any]) -> FrontEnd:
    """The front end of a voice's folder, from its voice.json. Raises PackError."""
    if facts["format"] == 1:
        return english(read_pronouncer(folder))
    language, said, symbols = str(facts["language"]), facts["said"], facts["phones"]
    if not isinstance(symbols, list) or symbols[:1] != [PAUSE] or len(set(symbols)) < len(symbols):
        raise PackError(f"{folder}: phones are {symbols!r}, expected {PAUSE!r} and then the voice's symbols, each once")
    if not isinstance(said, dict):
        raise PackError(f"{folder}: said is {said!r}, expected characters and their words")
    if facts["symbols"] == "characters":
        return by_characters(language, symbols[1:], said)
    if facts["symbols"] == "lexicon":
        return by_lexicon(language, read_pronouncer(folder), symbols[1:], said)
    raise PackError(f"{folder}: symbols are {facts['symbols']!r}, expected characters or lexicon")


def _words(language: str, said: Mapping[str, str]) -> Callable[[str], list[SpokenWord]]:
    return spoken_words if base(language) == "en" else partial(words_of, language=language, said=said)
