"""What is dropped as said by nobody, and what a caller may well have said."""

from __future__ import annotations

import pytest

from app.workers.whisper_filter import compression, is_hallucination, once, plain

PHRASES = frozenset({"thank you", "thanks for watching"})
LOOP = "and so on " * 30


def dropped(text: str, sureness: float = 0.5, *, ended: bool = True) -> bool:
    return is_hallucination(text, sureness, ended=ended, phrases=PHRASES, sure_from=0.8, most_compression=2.4)


@pytest.mark.parametrize(
    "text", ["Thank you.", "THANKS for watching!", "Thank you. Thank you. Thank you.", "Thank you. Thank"]
)
def test_a_listed_phrase_is_dropped_where_the_model_is_unsure(text: str) -> None:
    assert dropped(text)
    assert not dropped(text, 0.9)


@pytest.mark.parametrize("text", ["thank you very much", "yes thank you", "", "thanks"])
def test_a_phrase_counts_only_as_the_whole(text: str) -> None:
    assert not dropped(text)


def test_a_loop_is_dropped_where_it_never_ended_or_is_unsure() -> None:
    assert dropped(LOOP, 0.95, ended=False)
    assert dropped(LOOP, 0.5, ended=True)


def test_a_caller_may_repeat() -> None:
    assert not dropped(LOOP, 0.95, ended=True)
    assert not dropped("one one two two", 0.5, ended=False)


def test_plain_words() -> None:
    assert plain("  Don't —  STOP, now! ") == "don't stop now"
    assert plain("Спасибо за просмотр!") == "спасибо за просмотр"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a b a b a", "a b"), ("a a", "a"), ("a b c", "a b c"), ("", ""), ("a", "a"), ("a b b", "a b b")],
)
def test_once(text: str, expected: str) -> None:
    assert once(text) == expected


def test_compression_tells_loops_from_speech() -> None:
    assert compression(LOOP) > 2.4
    assert compression("turn on the lights in the kitchen and set a timer for five minutes") < 2.4
