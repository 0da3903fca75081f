"""Texts in the form in which they are compared, by language. Knows no rows and no models."""

from __future__ import annotations

from app.spoken_any import says_numbers, spoken_form
from finetune.data.texts import text_key

UNSPACED = ("zh", "ja", "th", "lo", "km", "my", "yue")
"""Languages written without spaces: their words cannot be counted, so there is no WER."""


def base_language(tag: str) -> str:
    """The language of a BCP 47 tag: en of en-GB."""
    return tag.lower().replace("_", "-").split("-")[0]


def is_of(tag: str, language: str) -> bool:
    """Whether two BCP 47 tags are of the same language."""
    return base_language(tag) == base_language(language)


def normal(text: str, language: str) -> str:
    """Words without case, punctuation and apostrophes; on both sides numbers, times and signs in words, where it is
    known how the language says them."""
    return text_key(spoken_form(text, language) if says_numbers(language, {}) else text)


def characters(text: str) -> str:
    """A normal text's characters as words, without its spaces: word errors of these are character errors."""
    return " ".join(text.replace(" ", ""))


def has_words(language: str) -> bool:
    """Whether words can be counted by spaces."""
    return base_language(language) not in UNSPACED
