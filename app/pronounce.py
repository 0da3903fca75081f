"""Words to phones: a lexicon, what derives from its entries, and letter rules for the rest. Knows no audio or engine.

Phones of English are the 39 of the CMU dictionary, without stress, lower case; every word gets at least one. In another
language only `listed` and `by_letters` hold.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from app.errors import PackError

Phones: TypeAlias = tuple[str, ...]

LEXICON = "lexicon.txt.gz"
RULES = "letters.txt.gz"
PAUSE = "pau"
VOWELS = ("aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw")
CONSONANTS = (
    *("b", "ch", "d", "dh", "f", "g", "hh", "jh", "k", "l", "m", "n", "ng", "p", "r", "s", "sh", "t", "th", "v"),
    *("w", "y", "z", "zh"),
)
PHONES = (PAUSE, *VOWELS, *CONSONANTS)
LONGEST_CONTEXT = 8  # letters around the one that is read
EDGE = "#"

_LETTERS: Mapping[str, str] = {
    "a": "ey", "b": "b iy", "c": "s iy", "d": "d iy", "e": "iy", "f": "eh f", "g": "jh iy", "h": "ey ch", "i": "ay",
    "j": "jh ey", "k": "k ey", "l": "eh l", "m": "eh m", "n": "eh n", "o": "ow", "p": "p iy", "q": "k y uw",
    "r": "aa r", "s": "eh s", "t": "t iy", "u": "y uw", "v": "v iy", "w": "d ah b ah l y uw", "x": "eh k s",
    "y": "w ay", "z": "z iy",
}  # fmt: skip


class Pronouncer:
    """One language's pronunciations, held in memory and never changed."""

    def __init__(self, lexicon: Mapping[str, str], rules: Mapping[str, str]) -> None:
        self._lexicon = lexicon
        self._rules = rules

    def phones(self, word: str, following: str = "") -> Phones:
        """Phones of a lower-case word, with the `following` word's first sound deciding "the"; never empty."""
        if word == "the" and following and self._word(following)[0] in VOWELS:
            return ("dh", "iy")
        if word == "a" and following and len(following) > 1:
            return ("ah",)
        return self._word(word)

    def listed(self, word: str) -> Phones:
        """The lexicon's own entry, or empty."""
        return tuple(self._lexicon.get(word, "").split())

    def _word(self, word: str) -> Phones:
        if len(word) == 1 and word in _LETTERS:
            return tuple(_LETTERS[word].split())
        if word in self._lexicon:
            return tuple(self._lexicon[word].split())
        if derived := self._derived(word):
            return derived
        bare = word.replace("'", "")
        if not set(bare) & set("aeiouy"):
            return tuple(phone for letter in bare for phone in _LETTERS.get(letter, "").split()) or ("ah",)
        return self.by_letters(bare) or ("ah",)

    def _derived(self, word: str) -> Phones:
        """Plurals, possessives and compounds of words in the lexicon, or of a single letter; else empty."""
        base, mark, ending = word.rpartition("'")
        if mark and ending in ("", "s"):
            stem = self._word(base) if base else ()
            return stem + _plural(stem) if stem and ending else stem
        if word.endswith("s") and word[:-1] in self._lexicon:
            stem = tuple(self._lexicon[word[:-1]].split())
            return stem + _plural(stem)
        for cut in range(len(word) - 3, 2, -1):  # the longest first part wins: "lamp" + "light"
            if word[:cut] in self._lexicon and word[cut:] in self._lexicon:
                return tuple(self._lexicon[word[:cut]].split() + self._lexicon[word[cut:]].split())
        return ()

    def by_letters(self, word: str) -> Phones:
        """Phones by the letter rules alone: each letter by the longest context that has a rule."""
        phones: list[str] = []
        for index in range(len(word)):
            for context in reversed(contexts(word, index)):
                if context in self._rules:
                    phones += self._rules[context].split()
                    break
        return tuple(phones)


def phone_places(count: int) -> list[int]:
    """Where each phone of a word of `count` phones stands: 1 first, 2 last, 3 both, 0 neither."""
    return [(index == 0) + 2 * (index == count - 1) for index in range(count)]


def contexts(word: str, index: int) -> list[str]:
    """The letter at `index` with 0 to LONGEST_CONTEXT neighbours, shortest first; "<" marks where it stands.

    The right side grows first: what follows an English letter says more about its sound than what precedes it.
    """
    padded = EDGE * LONGEST_CONTEXT + word + EDGE * LONGEST_CONTEXT
    place = index + LONGEST_CONTEXT
    found = []
    for size in range(LONGEST_CONTEXT + 1):
        left, right = size // 2, size - size // 2
        found.append(padded[place - left : place] + "<" + padded[place : place + right + 1])
    return found


def read_pronouncer(folder: Path) -> Pronouncer:
    """The lexicon and letter rules of a voice. Raises PackError naming a file that is missing or broken."""
    return Pronouncer(_table(folder / LEXICON), _table(folder / RULES))


def _table(path: Path) -> dict[str, str]:
    """Lines of key, tab, phones."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
        return dict(line.split("\t", 1) for line in lines)
    except (OSError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise PackError(f"{path} is no table of pronunciations: {error}") from error


def _plural(stem: Phones) -> Phones:
    if stem[-1] in ("s", "z", "sh", "zh", "ch", "jh"):
        return ("ih", "z")
    return ("s",) if stem[-1] in ("p", "t", "k", "f", "th") else ("z",)
