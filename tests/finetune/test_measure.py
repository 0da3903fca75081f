"""Word errors and intervals against values worked out by hand."""

from __future__ import annotations

import pytest

from finetune.measure import bootstrap_interval, paired_bootstrap, proportion_interval, wer, word_errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("what time is it", "what time is it", 0),
        ("what time is it", "", 4),
        ("", "hello there", 2),
        ("turn on the light", "turn off the light please", 2),
        ("a b c d", "b c d e", 2),
    ],
)
def test_word_errors(reference: str, hypothesis: str, errors: int) -> None:
    assert word_errors(reference, hypothesis) == errors


def test_wer_weighs_by_words() -> None:
    assert wer([("one two three", "one two three"), ("four", "five")]) == 0.25


def test_the_bootstrap_holds_the_rate_and_repeats_itself() -> None:
    errors, counts = [0.0, 1.0, 0.0, 2.0, 0.0] * 20, [5.0] * 100
    low, high = bootstrap_interval(errors, counts)
    assert low < 60 / 500 < high
    assert high - low < 0.1
    assert (low, high) == bootstrap_interval(errors, counts)


def test_a_paired_difference_ignores_what_both_get_wrong() -> None:
    hard = [0.0, 3.0, 1.0, 2.0] * 25
    difference, low, high = paired_bootstrap([error + 1 for error in hard], hard, [5.0] * 100)
    assert difference == low == high == 0.2


def test_the_wilson_interval() -> None:
    low, high = proportion_interval(9, 10)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)  # Agresti and Coull 1998, by their formula
    assert proportion_interval(0, 10)[0] == pytest.approx(0.0)
    assert proportion_interval(10, 10)[1] == pytest.approx(1.0)
