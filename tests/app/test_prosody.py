"""How the end of speech is described: by tones whose pitch and loudness are known."""

from __future__ import annotations

import numpy as np
import pytest

from app.audio import HEARING_RATE, Waveform
from app.prosody import contours, prosody


def tone(first_hz: float, last_hz: float, seconds: float = 1.5, loudest_last: bool = False) -> Waveform:
    """A voice-like glide, float32 [samples]."""
    hertz = np.linspace(first_hz, last_hz, round(seconds * HEARING_RATE))
    phase = 2 * np.pi * np.cumsum(hertz) / HEARING_RATE
    wave = 0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase) + 0.05 * np.sin(3 * phase)
    return (wave * (np.linspace(0.1, 1, len(wave)) if loudest_last else 1)).astype(np.float32)


def then_pause(wave: Waveform, seconds: float = 0.16) -> Waveform:
    noise = np.random.default_rng(0).standard_normal(len(wave) + round(seconds * HEARING_RATE)) * 5e-4
    return (np.pad(wave, (0, round(seconds * HEARING_RATE))) + noise).astype(np.float32)


@pytest.mark.parametrize("hertz", [80, 120, 220, 350])
def test_the_pitch_is_the_tones_and_not_twice_or_half_of_it(hertz: float) -> None:
    _, pitch = contours(tone(hertz, hertz))
    assert np.median(pitch) == pytest.approx(hertz, rel=0.03)


def test_a_falling_voice_is_told_from_a_rising_one() -> None:
    falling, rising = prosody(then_pause(tone(220, 140))), prosody(then_pause(tone(140, 220)))
    assert falling is not None
    assert rising is not None
    assert falling.pitch_end < -0.2 < 0.2 < rising.pitch_end
    assert falling.pitch_slope < 0 < rising.pitch_slope
    assert falling.last_voiced == pytest.approx(0.6)  # no longer one is told apart


def test_a_voice_that_ends_loud_is_told_from_one_that_does_not() -> None:
    swelling, even = prosody(then_pause(tone(150, 150, loudest_last=True))), prosody(then_pause(tone(150, 150)))
    assert swelling is not None
    assert even is not None
    assert swelling.level_end > even.level_end + 3


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_hardly_any_speech_says_nothing(seconds: float) -> None:
    assert prosody(then_pause(tone(150, 150, seconds), 1.0)) is None
