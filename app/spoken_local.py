"""What CLDR's number rules do not say of a language: signs, times, dates, names of letters. Tables only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

POINT_LANGUAGES = frozenset(("cy", "ga", "gd", "he", "hi", "ja", "ko", "ms", "mt", "sw", "th", "yue", "zh", "zu"))
"""They write 1,000.5; the others 1.000,5."""


@dataclass(frozen=True, slots=True)
class Local:
    """One language; whatever is empty is not said in any special way."""

    signs: Mapping[str, str] = field(default_factory=dict)
    """Character to words; "-" is the minus before a number."""
    clock: str = ""
    """A time of day, of {hour} and {minute}."""
    clock_word: str = ""
    """What may stand after one: 7 Uhr."""
    range: str = ""
    """Between two numbers: 3-5."""
    months: tuple[str, ...] = ()
    """After which a date's day is an ordinal number: 3. Mai."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Words that are said otherwise than written, in lower case; an abbreviation without its point."""
    letters: Mapping[str, str] = field(default_factory=dict)
    """Names of letters, for one to four capitals: USB."""


_GERMAN = Local(
    signs={
        "%": "prozent", "€": "euro", "$": "dollar", "£": "pfund", "°": "grad", "&": "und", "+": "plus", "-": "minus",
        "=": "gleich", "×": "mal", "*": "mal", "÷": "geteilt durch", "@": "at", "§": "paragraf", "#": "raute",
        ",": "komma", "<": "kleiner als", ">": "größer als", "½": "einhalb",
    },
    clock="{hour} uhr {minute}",
    clock_word="Uhr",
    range="bis",
    months=(
        "januar", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november",
        "dezember",
    ),
    short={"dr": "doktor", "nr": "nummer", "bzw": "beziehungsweise", "ca": "zirka", "usw": "und so weiter",
           "km": "kilometer", "cm": "zentimeter", "kg": "kilogramm"},
    letters={
        "a": "a", "b": "be", "c": "ze", "d": "de", "e": "e", "f": "eff", "g": "ge", "h": "ha", "i": "i", "j": "jott",
        "k": "ka", "l": "ell", "m": "emm", "n": "enn", "o": "o", "p": "pe", "q": "ku", "r": "err", "s": "ess",
        "t": "te", "u": "u", "v": "vau", "w": "we", "x": "iks", "y": "üpsilon", "z": "zett",
    },
)  # fmt: skip

LOCAL: Mapping[str, Local] = {"de": _GERMAN}
