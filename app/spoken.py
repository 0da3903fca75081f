"""Written English to the words a reader would say, each with its place in the text. Knows no lexicon and no engine.

Nothing is dropped: a letter or digit of any script yields a word (a rule, a transliteration, or its Unicode name), and
so does every symbol that is no punctuation or mark-up.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from app.letters import named, plain, spelled
from app.numerals import cardinal, clock, decimal, digits, ordinal, ordinal_word, plural, year
from app.spoken_tables import (
    ABBREVIATIONS,
    COMMON_CAPITALS,
    CURRENCIES,
    MONTHS,
    NO_PERIOD_NEEDED,
    OPERATORS,
    UNITS,
)

Pause: TypeAlias = Literal["none", "comma", "sentence"]


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word as it is said."""

    word: str
    """Lower case; a single letter is said by its name, except in "a" and "i", which are words as well."""
    start: int
    end: int
    """Characters [start, end) of the source; the words of one number or symbol share one span."""
    pause_after: Pause = "none"


@functools.lru_cache(maxsize=2048)  # every reply asks again for all that was said, 0.3 ms of the event loop a turn
def spoken_form(text: str) -> str:
    """The words alone, as a recognizer would write them: "What's 12 + 30?" -> "what's twelve plus thirty"."""
    return " ".join(spoken.word for spoken in spoken_words(text))


def spoken_words(text: str) -> list[SpokenWord]:
    """The words of `text` in order; spans ascend. Empty for text without anything to say."""
    shouting = text.isupper() and len(text.split()) > 1
    source = text.lower() if shouting else text
    if len(source) != len(text):  # a few letters change length in lower case, and spans must stay true
        source = text
    source = source.replace("’", "'").replace("‘", "'").replace("\u00a0", " ").replace("−", "-")
    words: list[SpokenWord] = []
    position = 0
    while position < len(source):
        for pattern, read in _RULES:
            match = pattern.match(source, position)
            said = read(match) if match and match.end() > position else None
            if match and said is not None:
                words += [SpokenWord(word, position, match.end()) for word in said]
                position = match.end()
                break
        else:
            position += _pause_or_name(source, position, words)
    return words


Reader: TypeAlias = Callable[["re.Match[str]"], "list[str] | None"]
"""The words of a match, or None where the rule does not hold after all."""

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+"
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_MONEY = "|".join(re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True))
_OF_YEAR = r"(?:,? (?P<year>[12]\d{3})\b)?"
_SCALE = "thousand|million|billion|trillion"
_YEAR_CUE = r"\b(?:in|since|year|from|until|till|before|after|of|during|around|spring|summer|autumn|fall|winter) $"


def _address(match: re.Match[str]) -> list[str]:
    """A URL without its scheme, which nobody says, or an e-mail address; path and query included."""
    said: list[str] = []
    for part in re.findall(r"[^\W\d_]+|\d+|[\W_]", re.sub(r"^[a-z]+://", "", match[0], flags=re.I)):
        if part.isdecimal():
            said += digits(part) if len(part) > 4 or part[0] == "0" else cardinal(int(part))
        elif part.isalpha():
            said += spelled(part) if part.lower() == "www" or not re.search("[aeiouy]", part.lower()) else plain(part)
        else:
            said += {".": ["dot"], "/": ["slash"], "-": ["dash"]}.get(part) or plain(part)
    return said


def _time(match: re.Match[str]) -> list[str] | None:
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"]
    if hour > 24 or minute > 59 or (match["minute"] is None and half is None):
        return None
    said = clock(hour, minute, half_day=half is not None)
    if match["second"]:
        said += ["and", *cardinal(int(match["second"])), "seconds"]
    return said + ([half[0].lower(), "m"] if half else [])


def _date(match: re.Match[str]) -> list[str] | None:
    groups = match.groupdict()
    number, month, day = int(groups["year"]), int(groups["month"]), int(groups["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return [list(dict.fromkeys(MONTHS.values()))[month - 1], *ordinal(day), *year(number)]


def _month_day(match: re.Match[str]) -> list[str] | None:
    if int(match["day"]) > 31:
        return None
    if match["name"] in ("may", "march", "mar"):  # in lower case more often the verb
        return None
    month = MONTHS[match["name"].lower()]
    said = [month, *ordinal(int(match["day"]))] if match["day_last"] else [*ordinal(int(match["day"])), month]
    return said + (year(int(match["year"])) if match["year"] else [])


def _money(match: re.Match[str]) -> list[str]:
    one, many, cent, cents = CURRENCIES[match["sign"] or match["sign_after"]]
    amount, scale = match["amount"] or match["amount_before"], match["scale"]
    whole, _, fraction = amount.replace(",", "").partition(".")
    said = ["minus"] if match["minus"] else []
    if scale or len(fraction) not in (0, 2) or not cent:
        return [*said, *decimal(amount), *([scale.lower()] if scale else []), many]
    if int(whole or 0) or not int(fraction or 0):
        said += [*cardinal(int(whole or 0)), one if int(whole or 0) == 1 else many]
    if int(fraction or 0):
        said += [*(["and"] if int(whole or 0) else []), *cardinal(int(fraction)), cent if int(fraction) == 1 else cents]
    return said


def _quantity(match: re.Match[str]) -> list[str]:
    one, many = UNITS[match["unit"]]
    singular = match["amount"] == "1" or many == ""
    return [*(["minus"] if match["minus"] else []), *decimal(match["amount"]), *(one if singular else many).split()]


def _fraction(match: re.Match[str]) -> list[str] | None:
    above, below = int(match[1]), int(match[2])
    if not 0 < above < below <= 20:
        return None
    part = {2: "half", 4: "quarter"}.get(below) or ordinal_word(cardinal(below)[-1])
    return [*cardinal(above), *(plural([part]) if above > 1 and part != "half" else [part])]


def _digit_string(match: re.Match[str]) -> list[str]:
    return [*(["plus"] if match[0][0] == "+" else []), *digits("".join(filter(str.isdecimal, match[0])))]


def _dotted(match: re.Match[str]) -> list[str]:
    parts = [decimal(part) for part in match[0].split(".")]
    return [word for index, part in enumerate(parts) for word in ([*(["point"] if index else []), *part])]


def _number(match: re.Match[str]) -> list[str]:
    text, before = match["amount"], match.string[: match.start()].lower()
    minus = ["minus"] if match["minus"] else []
    if re.fullmatch(r"1[1-9]\d\d|20[1-9]\d", text) and re.search(_YEAR_CUE, before):
        return [*minus, *year(int(text))]
    return minus + decimal(text)


def _mixed(match: re.Match[str]) -> list[str]:
    """Letters and digits in one token: mp3, B2B, A4, covid19. Short letter runs are spelled."""
    said: list[str] = []
    for part in re.findall(r"[^\W\d_]+|\d+", match[0]):
        if part.isdecimal():
            said += decimal(part) if len(part) <= 3 else digits(part)
        else:
            said += spelled(part) if len(part) <= 3 or not re.search("[aeiouy]", part.lower()) else plain(part)
    return said


def _capitals(match: re.Match[str]) -> list[str] | None:
    """Capitals are spelled unless they are an ordinary word in capitals, or read as one."""
    text = match[1]
    if text.lower() in COMMON_CAPITALS or (len(text) > 5 and re.search("[AEIOUY]", text)):
        return None
    letters = spelled(text.replace(".", "").replace("'", ""))
    return [*letters[:-1], letters[-1] + "'s"] if match[2] else letters


def _word(match: re.Match[str]) -> list[str]:
    parts = re.findall(r"[A-Z]?[^\WA-Z\d_]+|[A-Z]+(?=[A-Z][^\WA-Z\d_])|[A-Z]+", match[0])
    if len(parts) == 1 or "'" in match[0] or re.match(r"(?:Mc|Mac|De|La|Le|Di|Van)[A-Z]", match[0]):
        return plain(match[0])
    return [word for part in parts for word in (spelled(part) if len(part) > 1 and part.isupper() else plain(part))]


def _pause_or_name(source: str, position: int, words: list[SpokenWord]) -> int:
    """Punctuation lengthens the last word's pause; a symbol is named. Returns the characters taken."""
    character, before = source[position], source[position - 1 : position]
    after = source[position + 1 : position + 2]
    if match := re.compile(r"([*_=~`#>|\-])\1+|^[>#*\-] |[`*_]", re.M).match(source, position):
        return len(match[0])  # mark-up: rules, emphasis, headings, bullets
    if character in ".!?…。！？\n" and (not after or not after.isalnum()):
        _pause(words, "sentence")
    elif character in ',;:()[]{}–—、，；："“”«»' or (character == "-" and (before.isspace() or after.isspace())):
        _pause(words, "comma")
    elif character == "/" and before.isalnum() and after.isalnum():
        words.append(SpokenWord("slash", position, position + 1))
    elif not (character.isspace() or character in ".!?'-/\\|>…" or unicodedata.category(character) in ("Pi", "Pf")):
        words += [SpokenWord(word, position, position + 1) for word in named(character)]
    return 1


def _pause(words: list[SpokenWord], pause: Pause) -> None:
    if words and words[-1].pause_after != "sentence":
        words[-1] = replace(words[-1], pause_after=pause)


def _rule(pattern: str, read: Reader, flags: int = re.I) -> tuple[re.Pattern[str], Reader]:
    return re.compile(pattern, flags), read


_SIGNED = r"(?P<minus>(?<![^\s(=+*/×÷])-)?"  # "5 -3" is read the same as a sign or a subtraction
# First match wins, so the longer reading stands above the shorter.
_RULES: list[tuple[re.Pattern[str], Reader]] = [
    _rule(r"(?<!\w)(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}']", _address),
    _rule(r"(?<!\w)[\w.+-]+@\w[\w-]*(?:\.\w[\w-]*)+", _address),
    _rule(r"(?<!\w)(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|io|dev|ai|uk|de|fr|eu)\b(?:/[\w/.-]*\w)?", _address),
    _rule(r"(?<![\d.])(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)(?!\d)", _date),
    _rule(r"(?<![\d./])(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4})(?!\d)", _date),
    _rule(
        r"(?<![\d.:])(?P<hour>\d\d?)(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?)?(?![\d:])"
        r"(?: ?(?P<half>[ap])(?:\.m\.|m\b))?",
        _time,
    ),
    _rule(
        rf"\b(?P<name>{_MONTH})\b\.? (?P<day_last>(?P<day>\d\d?))(?:st|nd|rd|th)?\b(?!:){_OF_YEAR}",
        _month_day,
    ),
    _rule(
        rf"(?<![\d.])(?P<day>\d\d?)(?:st|nd|rd|th)? (?P<name>{_MONTH})\b(?P<day_last>(?!))?{_OF_YEAR}",
        _month_day,
    ),
    _rule(
        rf"{_SIGNED}(?:(?P<sign>{_MONEY}) ?(?P<amount>{_NUMBER})|(?P<amount_before>{_NUMBER}) ?(?P<sign_after>[€£¥₹]))"
        rf"(?: ?(?P<scale>{_SCALE})\b)?",
        _money,
    ),
    _rule(r"(?<![\w.])\+?\d[\d ()-]*\d(?:[ -]\d{3,4})(?![\w.,]\d|\w)", _digit_string),
    _rule(r"(?<![\w.])(\d{1,2})/(\d{1,2})(?![\w/])", _fraction),
    _rule(r"(?<![\w.])(\d+)(?:st|nd|rd|th)\b", lambda match: ordinal(int(match[1]))),
    _rule(r"(?<!\w)'?(\d*\d0)s\b", lambda match: plural(year(int(match[1])))),
    _rule(rf"(?<!\w){_SIGNED}(?P<amount>{_NUMBER}) ?(?P<unit>{_UNIT})(?![^\W\d_])", _quantity, 0),
    _rule(r"(?<![\w.])\d+(?:\.\d+){2,}", _dotted),
    _rule(r"(?<=\d)(?: ?[-–] ?)(?=\d)", lambda match: ["minus" if " " in match[0] else "to"]),
    _rule(r"(?<=\d) ?[x*] ?(?=\d)", lambda match: ["times"]),
    _rule(r"(?<=\d) ?/ ?(?=\d)", lambda match: ["divided", "by"] if " " in match[0] else ["over"]),
    _rule(r"(?<=[\d)\w] )[-*/](?= [\d(])", lambda match: [*OPERATORS[match[0]].split()]),
    _rule(rf"{_SIGNED}(?P<amount>{_NUMBER})(?!\w)", _number),
    _rule(r"\bno\.(?= ?\d)", lambda match: ["number"]),
    _rule(r"\bSt\.(?= [A-Z])", lambda match: ["saint"], 0),
    _rule(
        "|".join(rf"\b{re.escape(short)}(?!\w)" for short in sorted(ABBREVIATIONS, key=len, reverse=True)),
        lambda match: ABBREVIATIONS[match[0].lower()].split(),
    ),
    _rule(
        "|".join(rf"(?<!\w){re.escape(short)}(?!\w)" for short in sorted(NO_PERIOD_NEEDED, key=len, reverse=True)),
        lambda match: NO_PERIOD_NEEDED[match[0]].split(),
        0,
    ),
    _rule(r"\b((?:[a-z]\.){2,})()", _capitals),
    _rule(r"\b([A-Z]{2,})('s|s)?\b(?!['\d])", _capitals, 0),
    _rule(r"(?>[^\W\d_]+(?:'[^\W\d_]+)*)(?!\d)", _word),
    _rule(r"[^\W_]+", _mixed),
]
