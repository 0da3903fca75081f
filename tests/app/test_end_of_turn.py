"""How long semantic_vad waits: less for a voice that falls and words that read finished, never beyond its bounds."""

from __future__ import annotations

import pytest

from app.audio import BYTES_PER_SAMPLE, FRAME_SAMPLES, Pcm16, Waveform, to_pcm16
from app.end_of_turn import EAGERNESS, EndOfTurn
from app.endings import count
from tests.app.test_prosody import then_pause, tone

FALLING, RISING = tone(230, 150), tone(150, 230)
WORDS = count(["set a timer for five minutes"] * 50)


def frames(wave: Waveform) -> list[Pcm16]:
    pcm, size = to_pcm16(wave), FRAME_SAMPLES * BYTES_PER_SAMPLE
    return [pcm[start : start + size] for start in range(0, len(pcm), size)]


def wait(wave: Waveform, text: str = "", *, eagerness: str = "auto", stands: bool = True) -> float:
    """Seconds of silence needed after the speech, asked 0.3 s into it."""
    ending = EndOfTurn(eagerness, WORDS)
    for frame in frames(wave):
        ending.feed(frame)
    if stands:
        ending.hears(text)
    for frame in frames(then_pause(wave[:0], 0.3)):
        ending.feed(frame)
    if not stands:
        ending.hears(text)
    return ending.silence_needed(0.3)


def test_a_voice_that_falls_is_waited_for_less() -> None:
    assert wait(FALLING) < wait(RISING)


def test_words_that_read_finished_are_waited_for_less() -> None:
    assert wait(FALLING, "set a timer for five minutes") < wait(FALLING) < wait(FALLING, "set a timer for")


def test_a_text_that_has_just_changed_is_not_believed() -> None:
    assert wait(FALLING, "set a timer for", stands=False) == wait(FALLING)


@pytest.mark.parametrize("eagerness", EAGERNESS)
@pytest.mark.parametrize("voice", [FALLING, RISING])
@pytest.mark.parametrize("text", ["", "set a timer for", "set a timer for five minutes"])
def test_the_wait_is_within_its_bounds(eagerness: str, voice: Waveform, text: str) -> None:
    bounds = EAGERNESS[eagerness]
    assert bounds.shortest_seconds <= wait(voice, text, eagerness=eagerness) <= bounds.longest_seconds


def test_an_eager_session_waits_less() -> None:
    assert wait(FALLING, eagerness="high") < wait(FALLING, eagerness="medium") < wait(FALLING, eagerness="low")
    assert wait(FALLING, eagerness="auto") == wait(FALLING, eagerness="medium")


def test_nothing_ends_before_the_speech_was_looked_at_and_going_on_is_a_new_pause() -> None:
    ending = EndOfTurn("medium")
    for frame in frames(then_pause(FALLING, 0.2)):
        ending.feed(frame)
    assert ending.silence_needed(0.1) == EAGERNESS["medium"].longest_seconds
    first = ending.silence_needed(0.2)
    assert ending.silence_needed(0.0) == EAGERNESS["medium"].longest_seconds
    for frame in frames(then_pause(RISING, 0.2)):
        ending.feed(frame)
    assert ending.silence_needed(0.2) > first
