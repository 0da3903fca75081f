"""Rates, intervals by speaker, slices: pinned on small cases."""

from __future__ import annotations

import numpy as np
import pytest

from app.audio import HEARING_RATE
from finetune.evaluate.cases import signal_to_noise_db, slices
from finetune.evaluate.normal import characters, has_words, normal
from finetune.evaluate.rates import ONE_SPEAKER, Score, by_slice, difference, quantile, rate
from tests.finetune.data.samples import utterance


def test_a_rate_is_errors_over_counts_and_its_interval_draws_speakers() -> None:
    by_two = [Score(0, 10, "a")] * 20 + [Score(10, 10, "b")] * 20
    rated = rate(by_two)
    assert (rated.value, rated.n, rated.groups) == (0.5, 400, 2)
    assert (rated.low, rated.high) == (
        0.0,
        1.0,
    )  # a draw may be one speaker alone; by utterance it would be 0.35 to 0.65
    assert rated.drawn() == "2 speakers, interval by speaker"


def test_one_speaker_says_nothing_about_others() -> None:
    rated = rate([Score(i % 2, 1, "a") for i in range(40)])
    assert rated.value == 0.5
    assert 0.3 < rated.low < 0.4 < 0.6 < rated.high < 0.7
    assert ONE_SPEAKER in rated.drawn()
    assert "speaker" not in rated.drawn("dialogue")


def test_nine_of_nine_is_not_certain() -> None:
    rated = rate([Score(1, 1)] * 9)
    assert (rated.value, rated.high) == (1, 1)
    assert 0.6 < rated.low < 0.75


def test_a_difference_is_paired() -> None:
    mine = [Score(i % 7 + 1, 10, f"s{i % 5}") for i in range(50)]
    theirs = [Score(i % 7, 10, f"s{i % 5}") for i in range(50)]
    change = difference(mine, theirs)
    assert change.value == pytest.approx(0.1)
    assert (change.low, change.high) == pytest.approx((0.1, 0.1))  # each pair differs by the same
    with pytest.raises(ValueError, match="got 50 and 1 items"):
        difference(mine, theirs[:1])
    with pytest.raises(ValueError, match="got no items"):
        rate([])


def test_slices_are_what_splits_the_clips() -> None:
    scores = [
        Score(0, 1, "a", {"gender": "female", "accent": ""}),
        Score(0, 1, "b", {"gender": "female", "accent": "us"}),
    ]
    assert by_slice(scores) == {"speaker: a": [0], "speaker: b": [1], "accent: us": [1]}


def test_quantiles_have_intervals() -> None:
    value, low, high = quantile([float(i) for i in range(101)], 0.5)
    assert value == 50
    assert 35 < low < 50 < high < 65


def test_texts_are_compared_as_they_are_heard() -> None:
    assert normal("It's 3:25 PM!", "en-GB") == normal("its three twenty five p m", "en")
    assert normal("Grüß Gott, 3 Äpfel", "de") == "grüss gott drei äpfel"
    assert characters("ab c") == "a b c"
    assert has_words("de-AT")
    assert not has_words("zh-Hans")


def test_noise_is_estimated_from_loud_and_quiet_frames() -> None:
    draw = np.random.default_rng(0)
    hiss = draw.standard_normal(HEARING_RATE * 2).astype(np.float32)
    speech = np.where(np.arange(len(hiss)) < HEARING_RATE, 0.3, 0.003).astype(np.float32) * hiss
    assert signal_to_noise_db(hiss * 0.1) < 5
    assert 38 < signal_to_noise_db(speech) < 42
    assert signal_to_noise_db(np.zeros(10, np.float32)) == 60
    found = slices(utterance(gender="male"), hiss * 0.1)
    assert found == {"gender": "male", "accent": "", "noise": "loud (under 10 dB)", "length": "2 to 5 s"}
