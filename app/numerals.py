"""Numbers to English words: cardinals, ordinals, years, digits, clock times. Knows nothing of text around them.

American reading, without "and": 120 is "one hundred twenty". Every function returns a list of lower-case words.
"""

from __future__ import annotations

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_THOUSANDS = ("", "thousand", "million", "billion", "trillion", "quadrillion")
_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LONGEST_CARDINAL = 18  # digits: beyond quadrillions nobody counts, and a digit string is understood better


def cardinal(number: int) -> list[str]:
    """1234 -> one thousand two hundred thirty four; beyond LONGEST_CARDINAL digits, digit by digit."""
    if number < 0:
        return ["minus", *cardinal(-number)]
    if number < 20:
        return [_ONES[number]]
    if number < 100:
        return [_TENS[number // 10], *_rest(number % 10)]
    if number < 1000:
        return [_ONES[number // 100], "hundred", *_rest(number % 100)]
    if len(str(number)) > LONGEST_CARDINAL:
        return digits(str(number))
    power = (len(str(number)) - 1) // 3
    head, tail = divmod(number, 1000**power)
    return [*cardinal(head), _THOUSANDS[power], *_rest(tail)]


def ordinal(number: int) -> list[str]:
    """21 -> twenty first."""
    words = cardinal(number)
    return [*words[:-1], ordinal_word(words[-1])]


def ordinal_word(word: str) -> str:
    """The ordinal of one cardinal word: twelve -> twelfth."""
    if word in _IRREGULAR_ORDINALS:
        return _IRREGULAR_ORDINALS[word]
    return word[:-1] + "ieth" if word.endswith("y") else word + "th"


def year(number: int) -> list[str]:
    """1984 -> nineteen eighty four; 1905 -> nineteen oh five; 1900 -> nineteen hundred; 2007 -> two thousand seven."""
    century, rest = divmod(number, 100)
    if not 1000 < number < 10_000 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    if rest == 0:
        return [*cardinal(century), "hundred"]
    return [*cardinal(century), *(["oh"] if rest < 10 else []), *cardinal(rest)]


def digits(text: str) -> list[str]:
    """Every decimal digit by its name: 007 -> zero zero seven."""
    return [_ONES[int(digit)] for digit in text]


def clock(hour: int, minute: int, *, half_day: bool) -> list[str]:
    """15:05 -> fifteen oh five; 3:00 -> three o'clock, or just three where `half_day` (a m, p m) follows."""
    if minute:
        return [*cardinal(hour), *(["oh"] if minute < 10 else []), *cardinal(minute)]
    if half_day:
        return cardinal(hour)
    return [*cardinal(hour), "o'clock" if hour <= 12 else "hundred"]


def decimal(text: str) -> list[str]:
    """Unsigned digits with thousands commas and at most one point: 1,204.50 -> ... point five zero."""
    whole, _, fraction = text.replace(",", "").partition(".")
    # A leading zero means a code rather than a quantity: 007, 0451.
    coded = len(whole) > 1 and whole[0] == "0"
    words = digits(whole) if coded else cardinal(int(whole or "0"))
    return [*words, "point", *digits(fraction)] if fraction else words


def plural(words: list[str]) -> list[str]:
    """The last word in the plural: nineteen nineties, sixes."""
    last = words[-1]
    if last.endswith("y"):
        last = last[:-1] + "ies"
    else:
        last += "es" if last.endswith("x") else "s"
    return [*words[:-1], last]


def _rest(number: int) -> list[str]:
    return cardinal(number) if number else []
