"""Written text of any language but English to the words a reader would say, each with its place in the text.

Numbers are said by the language's rules in CLDR, signs and times by `spoken_local` and by what the voice itself knows.
Knows no lexicon and no engine.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from app.spoken import Pause, SpokenWord, spoken_words
from app.spoken_local import LOCAL, POINT_LANGUAGES, Local

LONGEST_NUMBER = 15  # digits: beyond it, and from a leading zero on, digits are said one by one
APOSTROPHES = "'’ʼʻ‘"
SENTENCE, COMMA = ".!?…。！？\n", ",;:()[]{}–—、，；：“”„«»"
LONGEST_INITIALS = 4


def words_of(text: str, language: str, said: Mapping[str, str]) -> list[SpokenWord]:
    """The words of `text` in order, lower case; spans ascend. `said` has words for single characters, and wins.

    No digit is left out where `says_numbers`; a sign that neither `said` nor the language's table has is.
    """
    return _Reading(text, base(language), said).words()


@functools.lru_cache(maxsize=2048)  # every reply asks again for all that was said
def spoken_form(text: str, language: str) -> str:
    """The words alone, as a recognizer of the language would write them: "Um 7 Uhr!" -> "um sieben uhr"."""
    words = spoken_words(text) if base(language) == "en" else words_of(text, language, {})
    return " ".join(spoken.word for spoken in words)


def says_numbers(language: str, said: Mapping[str, str]) -> bool:
    """Whether digits can be said: by CLDR's rules, or one by one by `said`."""
    return _rules(base(language)) is not None or said.keys() >= set("0123456789")


def says_sign(character: str, language: str, said: Mapping[str, str]) -> bool:
    """Whether a character that is neither letter nor digit is said, or is a pause or a mark that nobody says."""
    known = character in said or character in LOCAL.get(base(language), Local()).signs
    return known or character.isspace() or character in SENTENCE + COMMA + APOSTROPHES + '-−/"`_*'


def base(language: str) -> str:
    """de-AT -> de."""
    return language.partition("-")[0].lower()


class _Reading:
    """One text, read from left to right."""

    def __init__(self, text: str, language: str, said: Mapping[str, str]) -> None:
        self._text = text
        self._language = language
        self._local = LOCAL.get(language, Local())
        self._own = said
        self._signs = {**self._local.signs, **said}
        self._initials = bool(self._local.letters) and not (text.isupper() and len(text.split()) > 1)
        self._found: list[SpokenWord] = []

    def words(self) -> list[SpokenWord]:
        """All of them."""
        position = 0
        while position < len(self._text):
            character = self._text[position]
            if _is_letter(character):
                position = self._word(position)
            elif character.isdecimal():
                position = self._time(position) or self._number(position)
            else:
                self._sign(position)
                position += 1
        return self._found

    def _word(self, start: int) -> int:
        end = start + 1
        while end < len(self._text) and (_is_letter(self._text[end]) or self._text[end] in APOSTROPHES):
            end += 1
        word, lower = self._text[start:end], self._text[start:end].lower()
        if self._initials and len(word) <= LONGEST_INITIALS and word.isupper():
            lower = " ".join(self._local.letters.get(letter, letter) for letter in lower)
        self._say(self._local.short.get(lower, lower), start, end)
        return end

    def _time(self, start: int) -> int:
        """14:30, 14.30 Uhr or 7 Uhr; 0 where there is no time."""
        word = rf" ?{self._local.clock_word}\b"
        found = re.compile(rf"(\d\d?)(?:(?::(\d\d)(?![\d:])|\.(\d\d)(?={word}))({word})?|{word})").match(
            self._text, start
        )
        if not self._local.clock or not found:
            return 0
        hour, minute = int(found[1]), int(found[2] or found[3] or 0)
        if hour > 24 or minute > 59:
            return 0
        # "ein Uhr": the masculine form stands before a noun.
        spelled = self._spelled(hour, "CARDINAL", "spellout-cardinal-masculine")
        said = self._local.clock.format(hour=spelled, minute=self._spelled(minute) if minute else "")
        self._say(said, start, found.end())
        return found.end()

    def _number(self, start: int) -> int:
        group, point = (",", r"\.") if self._language in POINT_LANGUAGES else (r"\.", ",")
        pattern = rf"(\d{{1,3}}(?:{group}\d{{3}})+(?!\d)|\d+)(?:{point}(\d+))?"
        found = re.compile(pattern).match(self._text, start)
        assert found is not None  # it begins with a digit
        digits, fraction = re.sub(r"\D", "", found[1]), found[2]
        before = self._text[max(0, start - 2) : start]
        if before[-1:] in ("-", "−") and not before[:-1].isalnum():
            self._say(self._signs.get("-", ""), start - 1, start)
        months = "|".join(self._local.months)
        if months and not fraction and re.compile(rf"\. (?:{months})\b", re.I).match(self._text, found.end()):
            self._say(self._spelled(int(digits), "ORDINAL", "spellout-ordinal-n"), start, found.end() + 1)
            return found.end() + 1
        if len(digits) > LONGEST_NUMBER or (digits[0] == "0" and len(digits) > 1):
            whole = self._one_by_one(digits)
        else:
            year = digits == found[1] and 1100 <= int(digits) < 2000 and not fraction
            whole = self._spelled(int(digits), "YEAR" if year else "CARDINAL")
        self._say(f"{whole} {self._point()} {self._one_by_one(fraction)}" if fraction else whole, start, found.end())
        return found.end()

    def _spelled(
        self, number: int, purpose: Literal["CARDINAL", "YEAR", "ORDINAL"] = "CARDINAL", form: str = ""
    ) -> str:
        """By CLDR's rules, in one of their forms where they have it; by the voice's own digits where it has some."""
        rules = _rules(self._language)
        if rules is None or self._own.keys() >= set(str(number)):
            return self._one_by_one(str(number))
        from unicode_rbnf import FormatPurpose

        try:
            made = rules.format_number(number, FormatPurpose[purpose])
        except ValueError:  # few languages have years
            made = rules.format_number(number)
        return str(made.text_by_ruleset.get(form, made.text))

    def _one_by_one(self, digits: str) -> str:
        rules = _rules(self._language)
        values = [str(int(digit)) for digit in digits]  # a digit may be of any script
        return " ".join(self._own.get(v) or (rules.format_number(int(v)).text if rules else "") for v in values)

    def _point(self) -> str:
        """The word between whole and fraction: the rules' own, as in "eins Komma eins", where it is one."""
        if sign := self._signs.get(","):
            return sign
        if (rules := _rules(self._language)) is None:
            return ""
        one, both = rules.format_number(1).text, rules.format_number("1.1").text
        middle = both.removeprefix(one).removesuffix(one).strip()
        return str(middle) if both.split() == [one, middle, one] else ""

    def _sign(self, position: int) -> None:
        character, before = self._text[position], self._text[position - 1 : position]
        after = self._text[position + 1 : position + 2]
        if character in SENTENCE:
            if not after or not after.isalnum():
                self._pause("sentence")
        elif character in COMMA or (character in "-−" and before.isspace() and after.isspace()):
            self._pause("comma")
        elif character in "-−":
            if before.isdecimal() and after.isdecimal():
                self._say(self._local.range, position, position + 1)
        elif character in self._signs:
            self._say(self._signs[character], position, position + 1)
        elif character.isnumeric():  # ², ½, ①
            for digits in re.findall(r"\d+", unicodedata.normalize("NFKD", character)):
                self._say(self._spelled(int(digits)), position, position + 1)

    def _pause(self, pause: Pause) -> None:
        if self._found and self._found[-1].pause_after != "sentence":
            self._found[-1] = replace(self._found[-1], pause_after=pause)

    def _say(self, said: str, start: int, end: int) -> None:
        self._found += [SpokenWord(word, start, end) for word in split(said)]


def split(said: str) -> list[str]:
    """Lower-case words of letters, marks and apostrophes, in composed form."""
    composed = unicodedata.normalize("NFC", said).lower()
    plain = "".join("'" if c in APOSTROPHES else c if _is_letter(c) else "" if c == "\u00ad" else " " for c in composed)
    return [word for word in plain.split() if word.strip("'")]


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


@functools.lru_cache(maxsize=8)
def _rules(language: str) -> Any:
    """CLDR's number rules of a language, or None."""
    # A tenth of a second of XML: only a voice of that language pays it.
    from unicode_rbnf import RbnfEngine

    try:
        return RbnfEngine.for_language(language)
    except ValueError:
        return None
