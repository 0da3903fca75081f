"""Characters to words: fold a word to Latin letters, spell it, name a character. Knows no rule of the normaliser."""

from __future__ import annotations

import re
import unicodedata

from app.numerals import cardinal, digits
from app.spoken_tables import LETTERS_AS_WORDS, OPERATORS, SYMBOLS


def plain(text: str) -> list[str]:
    """A word in Latin letters without its accents; in another script, letter by letter."""
    lowered = LETTERS_AS_WORDS.get(text.lower(), text.lower())
    folded = "".join(_latin(character) for character in unicodedata.normalize("NFKD", lowered))
    if re.fullmatch(r"[a-z']+", folded):
        return [folded.strip("'")] if folded.strip("'") else []
    return [word for character in lowered for word in named(character)]


def _latin(character: str) -> str:
    if unicodedata.combining(character):
        return ""
    return {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "th", "þ": "th", "ł": "l", "ı": "i"}.get(
        character, character
    )


def spelled(text: str) -> list[str]:
    return [word for character in text.lower() for word in plain(character)]


def named(character: str) -> list[str]:
    """One character by a table, or by what tells it apart in its Unicode name: CYRILLIC SMALL LETTER KA -> ka."""
    if character in OPERATORS or character in SYMBOLS:
        return (OPERATORS.get(character) or SYMBOLS[character]).split()
    if re.fullmatch("[a-z]", character):
        return [character]
    if character.isdecimal():
        return digits(character)
    if (category := unicodedata.category(character)) in ("Mn", "Mc", "Me", "Cf", "Cc", "Zs"):
        return []
    name = unicodedata.name(character, "symbol" if category[0] in "SC" else "letter").lower()
    name = re.sub(r"^cjk.*ideograph.*", "ideograph", name)
    name = re.sub(r"^.*\b(?:letter|syllable|ligature)s? (?:small |capital )?(?=.)", "", name)
    name = re.sub(r"\b(?:vulgar fraction|sign|symbol|emoji|black|white heavy|with variation selector)\b", "", name)
    parts = re.findall(r"[a-z]+|\d+", name) or ["symbol"]
    return [word for part in parts for word in (cardinal(int(part)) if part.isdecimal() else [part])]
