"""The logic of `parley bench turns`: recordings with known timing, and what is right or wrong about them."""

from __future__ import annotations

import numpy as np
import pytest

from app.audio import HEARING_RATE, Waveform, to_waveform
from app.bench.back_channels import Judged, row
from app.bench.back_channels import judge as judge_sound
from app.bench.turn_recordings import AFTER_SECONDS, LEAD_SECONDS, Clip, Recording, compose, quietest, spoken_part
from app.bench.turns import Heard, decisions, hear, judge
from app.turn import MIN_SPEECH_SECONDS
from app.workers.scripted import ScriptedRecognizer
from tests.sounds import flite


def clip(seconds: float, level: float = 0.3) -> Clip:
    wave = np.random.default_rng(int(seconds * 10)).standard_normal(round(seconds * HEARING_RATE)) * level
    wave[len(wave) // 2 : len(wave) // 2 + HEARING_RATE // 10] = 0.0
    return Clip(wave.astype(np.float32), "some words", "en", "somebody")


def said(text: str) -> Waveform:
    return to_waveform(flite(text, rate=HEARING_RATE))


def test_every_kind_of_recording_says_where_its_turns_are() -> None:
    pause, whole, gap = compose([clip(2.0), clip(3.0), clip(4.0)], seed=1)
    assert (pause.kind, whole.kind, gap.kind) == ("pause", "whole", "gap")
    ((start, end, following),) = pause.turns
    assert start == LEAD_SECONDS
    assert 2.0 + 0.3 <= end - start <= 2.0 + 1.2
    assert following == pytest.approx(end + AFTER_SECONDS)
    assert len(pause.waveform) == round(following * HEARING_RATE)
    assert [round(end - start, 3) for start, end, _ in gap.turns] == [4.0, 2.0]
    assert gap.turns[0][2] == gap.turns[1][0]


def test_the_same_seed_gives_the_same_recordings_and_another_one_others() -> None:
    one, same, other = (next(compose([clip(2.0)], seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.waveform, same.waveform)
    assert len(one.waveform) != len(other.waveform)


def test_a_clip_is_parted_where_it_is_quiet_and_begins_and_ends_with_sound() -> None:
    one = clip(2.0)
    assert len(one.waveform) // 2 <= quietest(one.waveform) <= len(one.waveform) // 2 + HEARING_RATE // 10
    assert len(spoken_part(np.pad(one.waveform, 4000))) == pytest.approx(len(one.waveform), abs=100)


def test_decisions_are_right_cut_a_turn_off_or_miss_it() -> None:
    recording = Recording("gap", np.zeros(0, np.float32), ((1.0, 2.0, 3.0), (3.0, 5.0, 9.0)), "", "")
    heard = Heard(recording, [], [], [])
    right = judge([heard], lambda _: [2.3, 5.5])
    assert right["right_percent"] == 100
    assert right["delay_p50_ms"] == pytest.approx(400)
    assert judge([heard], lambda _: [2.3, 4.0, 5.5])["cut_off_percent"] == 50
    assert judge([heard], lambda _: [5.5])["missed_percent"] == 50


async def test_real_speech_ends_once_and_a_pause_is_bridged_by_a_longer_silence() -> None:
    spoken = Clip(said("tell me a story about the old fox"), "tell me a story about the old fox", "en", "slt")
    pause, whole = compose([spoken, spoken], seed=0)
    heard = [await hear(recording, ScriptedRecognizer(["tell me"], repeat=True)) for recording in (pause, whole)]
    ((_, paused_end, _),), ((_, end, _),) = pause.turns, whole.turns
    assert [len(decisions(one, silence=0.2)) for one in heard] == [2, 1]
    assert [len(decisions(one, silence=1.6)) for one in heard] == [1, 1]
    assert decisions(heard[1], silence=0.5)[0] == pytest.approx(end + 0.5, abs=0.2)
    assert decisions(heard[0], silence=1.6)[0] > paused_end
    assert end < decisions(heard[1], eagerness="medium")[0] < end + 2.2
    assert {text for _, text in heard[1].texts} == {"tell me"}
    assert heard[1].texts[0][0] * 0.032 > LEAD_SECONDS + MIN_SPEECH_SECONDS


async def test_what_is_said_over_a_reply_is_judged_by_length_and_words() -> None:
    sounds = [said("yeah"), said("tell me a story about the old fox")]
    by_length = [await judge_sound(sound, ("yeah",), None) for sound in sounds]
    assert [one.interrupts for one in by_length] == [False, True]
    by_words = [
        (await judge_sound(said("stop"), ("yeah",), ScriptedRecognizer([words], repeat=True))).interrupts
        for words in ("stop", "yeah")
    ]
    assert by_words == [True, False]
    for one in by_length:
        assert one.noticed_seconds is not None
        assert one.decided_seconds is not None
        assert one.noticed_seconds < one.decided_seconds
    figures = row("sounds", by_length, interrupts=True)
    assert (figures["turns"], figures["right_percent"]) == (2, 50)


def test_silence_over_a_reply_is_nothing() -> None:
    assert row("silence", [Judged(False, None, None)], interrupts=False)["right_percent"] == 100
