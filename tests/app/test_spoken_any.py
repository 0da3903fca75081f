"""Texts of other languages than English to words: German numbers, times, signs; CLDR's rules; a voice's own digits."""

from __future__ import annotations

import random
import unicodedata

import pytest

from app.spoken_any import APOSTROPHES, says_numbers, says_sign, split, spoken_form, words_of

GERMAN = {
    "Guten Morgen, Anna!": "guten morgen anna",
    "Es ist 14:30 Uhr.": "es ist vierzehn uhr dreißig",
    "um 1 Uhr": "um ein uhr",
    "9:05, 18.45 Uhr": "neun uhr fünf achtzehn uhr fünfundvierzig",
    "25:99": "fünfundzwanzig neunundneunzig",
    "21 Äpfel": "einundzwanzig äpfel",
    "am 3. Mai 1984": "am dritten mai neunzehnhundertvierundachtzig",
    "2026": "zweitausendsechsundzwanzig",
    "1.234.567 Euro": "eine million zweihundertvierunddreißigtausendfünfhundertsiebenundsechzig euro",
    "-5,25 °": "minus fünf komma zwei fünf grad",
    "100% & 3 × 4": "einhundert prozent und drei mal vier",
    "3-5 Tage": "drei bis fünf tage",
    "0049 30": "null null vier neun dreißig",
    "Der USB-Anschluss S3": "der u ess be anschluss ess drei",
    "m² ½ ٣": "m zwei einhalb drei",
    "GUT GEMACHT": "gut gemacht",
    "Rock ’n’ Roll": "rock n' roll",
    "": "",
    " ?! … ": "",
}


@pytest.mark.parametrize(("written", "said"), GERMAN.items())
def test_german(written: str, said: str) -> None:
    assert " ".join(word.word for word in words_of(written, "de-AT", {})) == said


def test_words_keep_their_place_and_their_pause() -> None:
    text = "Ja, um 7 Uhr. Gut"
    words = words_of(text, "de", {})
    assert [(word.word, text[word.start : word.end], word.pause_after) for word in words] == [
        ("ja", "Ja", "comma"), ("um", "um", "none"), ("sieben", "7 Uhr", "none"), ("uhr", "7 Uhr", "sentence"),
        ("gut", "Gut", "none"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("cy", "12, 2.5", "un deg dau dau pwynt pump"),
        ("fr", "21", "vingt et un"),
        ("pl", "1984", "tysiąc dziewięćset osiemdziesiąt cztery"),
        ("hi", "नमस्ते", "नमस्ते"),
    ],
)
def test_other_languages_count_as_they_do(language: str, written: str, said: str) -> None:
    assert " ".join(word.word for word in words_of(written, language, {})) == said


def test_a_language_without_rules_says_the_voices_own_digits() -> None:
    digits = dict(enumerate(["neoni", "aon", "dhà", "trì", "ceithir", "còig", "sia", "seachd", "ochd", "naoi"]))
    said = {str(digit): word for digit, word in digits.items()} | {"%": "sa cheud"}
    assert not says_numbers("gd", {})
    assert says_numbers("gd", said)
    words = [word.word for word in words_of("a' bhòrd 12, 30%", "gd", said)]
    assert words == ["a'", "bhòrd", "aon", "dhà", "trì", "neoni", "sa", "cheud"]
    assert [word.word for word in words_of("7", "de", {"7": "siebene"})] == ["siebene"]


def test_no_digit_and_no_letter_is_dropped() -> None:
    draw = random.Random(4)
    anything = [chr(code) for code in range(32, 0x3000) if unicodedata.category(chr(code))[0] in "LNPSZ"]
    for _ in range(1500):
        text = "".join(
            draw.choice(anything) if draw.random() < 0.3 else draw.choice("ab 0159,.-:Uhr%")
            for _ in range(draw.randint(1, 16))
        )
        words = words_of(text, "de", {})
        covered = {place for word in words for place in range(word.start, word.end)}
        left = [
            c
            for place, c in enumerate(text)
            if (c.isalpha() or c.isdecimal()) and c not in APOSTROPHES and place not in covered
        ]
        assert left == [], repr(text)
        spans = [(word.start, word.end) for word in words]
        assert spans == sorted(spans)


def test_spoken_forms_are_of_their_language() -> None:
    assert spoken_form("Um 7 Uhr: Grüße!", "de-DE") == "um sieben uhr grüße"
    assert spoken_form("At 7!", "en-GB") == "at seven"


def test_signs_and_words() -> None:
    assert says_sign("%", "de", {})
    assert says_sign(",", "gd", {})
    assert not says_sign("%", "gd", {})
    assert says_sign("%", "gd", {"%": "sa cheud"})
    assert split("Zwei\u00adund-zwanzig ’n’ '") == ["zweiund", "zwanzig", "'n'"]
