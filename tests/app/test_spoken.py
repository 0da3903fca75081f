"""The text normaliser: readings by table, and the law that nothing is dropped."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest

from app.numerals import cardinal, ordinal, year
from app.spoken import spoken_form, spoken_words

READINGS = {
    "What's 12 + 30?": "what's twelve plus thirty",
    "12 - 5 = 7": "twelve minus five equals seven",
    "3*4, 3 x 4, 10 / 2": "three times four three times four ten divided by two",
    "5 + -3": "five plus minus three",
    "1/2 cup, 3/4": "one half cup three quarters",
    "Dr. Smith lives on Baker St. in London": "doctor smith lives on baker street in london",
    "St. Mary": "saint mary",
    "It's 3:25 PM": "it's three twenty five p m",
    "at 15:05": "at fifteen oh five",
    "3:00, 3 PM and 10am": "three o'clock three p m and ten a m",
    "2026-11-21": "november twenty first twenty twenty six",
    "11/21/2026": "november twenty first twenty twenty six",
    "Nov 21, 2026": "november twenty first twenty twenty six",
    "May 5th": "may fifth",
    "we may 2 times": "we may two times",
    "$12.50": "twelve dollars and fifty cents",
    "$1, £1.01, 5€": "one dollar one pound and one penny five euros",
    "€3 million": "three million euros",
    "-5 °C and 20%": "minus five degrees celsius and twenty percent",
    "1 km, 5 km/h": "one kilometer five kilometers per hour",
    "3.14": "three point one four",
    "100,000": "one hundred thousand",
    "in 1984": "in nineteen eighty four",
    "1984 people": "one thousand nine hundred eighty four people",
    "the 1990s": "the nineteen nineties",
    "1st, 2nd, 3rd, 21st": "first second third twenty first",
    "007": "zero zero seven",
    "call 555-1234": "call five five five one two three four",
    "5-10 minutes": "five to ten minutes",
    "192.168.0.1": "one hundred ninety two point one hundred sixty eight point zero point one",
    "NASA and the FBI": "nasa and the f b i",
    "STOP THAT NOW": "stop that now",
    "mp3, B2B, H2O": "m p three b two b h two o",
    "OpenAI": "open a i",
    "O'Brien": "o'brien",
    "e.g. this, i.e. that, etc.": "for example this that is that et cetera",
    "a.m. and U.S.": "a m and u s",
    "see https://www.example.com/docs": "see w w w dot example dot com slash docs",
    "joe.b@mail.org": "joe dot b at mail dot org",
    "**bold** and `code`": "bold and code",
    "- one\n- two": "one two",
    "café naïve Straße": "cafe naive strasse",
    "😀": "grinning face",
    "привет": "pe er i ve ie te",
    "カタ": "ka ta",
    "x² ½ ٣": "x squared one half three",
    "don’t": "don't",
    "": "",
    " ?! … ": "",
}


@pytest.mark.parametrize(("written", "said"), READINGS.items())
def test_reading(written: str, said: str) -> None:
    assert spoken_form(written) == said


def test_pauses_follow_the_punctuation() -> None:
    pauses = {word.word: word.pause_after for word in spoken_words("Well, this is it. Is it: yes (no) on")}
    assert pauses == {
        "well": "comma", "this": "none", "is": "none", "it": "comma", "yes": "comma", "no": "comma", "on": "none",
    }  # fmt: skip
    assert spoken_words("Stop. Go!")[0].pause_after == "sentence"


def test_spans_point_into_the_source() -> None:
    text = "Set 2 timers,  please"
    assert [text[word.start : word.end] for word in spoken_words(text)] == ["Set", "2", "timers", "please"]


def test_words_of_one_number_share_its_span() -> None:
    spans = {(word.start, word.end) for word in spoken_words("1,234")}
    assert spans == {(0, 5)}


def test_nothing_is_dropped() -> None:
    """Every letter and digit of any script lies in the span of a word; every word can be pronounced."""
    draw = random.Random(4)
    ascii_ = [chr(code) for code in range(32, 127)]
    anything = [chr(code) for code in range(32, 0x3000) if unicodedata.category(chr(code))[0] in "LNPSZ"]
    for _ in range(4000):
        text = "".join(draw.choice(ascii_ if draw.random() < 0.8 else anything) for _ in range(draw.randint(1, 16)))
        words = spoken_words(text)
        covered = {place for word in words for place in range(word.start, word.end)}
        assert [c for place, c in enumerate(text) if c.isalnum() and place not in covered] == [], repr(text)
        assert all(re.fullmatch("[a-z']*[a-z][a-z']*", word.word) for word in words), repr(text)
        spans = [(word.start, word.end) for word in words]
        assert spans == sorted(spans)


def test_numbers() -> None:
    assert " ".join(cardinal(1_000_021)) == "one million twenty one"
    assert " ".join(cardinal(-40)) == "minus forty"
    assert " ".join(cardinal(10**20)).startswith("one zero zero")
    assert " ".join(ordinal(112)) == "one hundred twelfth"
    assert [" ".join(year(n)) for n in (1905, 2000, 2007, 1900)] == [
        "nineteen oh five", "two thousand", "two thousand seven", "nineteen hundred",
    ]  # fmt: skip
