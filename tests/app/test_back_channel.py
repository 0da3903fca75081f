"""Speech over a reply: what takes the floor and what does not, on seconds heard."""

from __future__ import annotations

import pytest

from app.audio import FRAME_SECONDS, Pcm16
from app.back_channel import DECIDE_SECONDS, ENDED_SECONDS, BackChannel, Verdict

FRAME: Pcm16 = bytes(1024)
LISTED = ("mm-hmm", "yeah", "I see", "okay")


def judged(spoken_seconds: float, text: str = "") -> tuple[Verdict, float]:
    """The first verdict on speech of that length, and when it came after the speech began."""
    doubt = BackChannel(LISTED, 0.0, [])
    for number in range(1, 100):
        heard = number * FRAME_SECONDS
        silent = max(0.0, heard - spoken_seconds)
        if (verdict := doubt.feed(FRAME, silent, text)) is not Verdict.OPEN:
            return verdict, heard
    raise AssertionError("it was never decided")


def test_speech_that_goes_on_takes_the_floor_within_600_ms() -> None:
    verdict, after = judged(3.0)
    assert verdict is Verdict.TAKES_FLOOR
    assert after <= DECIDE_SECONDS < 0.6


@pytest.mark.parametrize("text", ["okay", "okay yeah", "I se", "mm-hmm okay"])
def test_long_speech_of_listed_words_is_a_back_channel(text: str) -> None:
    assert judged(3.0, text)[0] is Verdict.BACK_CHANNEL


@pytest.mark.parametrize("text", ["okay stop", "stop", "okayama yes"])
def test_long_speech_of_other_words_is_none(text: str) -> None:
    assert judged(3.0, text)[0] is Verdict.TAKES_FLOOR


@pytest.mark.parametrize("spoken_seconds", [0.1, 0.2, 0.3])
def test_short_speech_is_decided_by_its_words_as_soon_as_it_has_ended(spoken_seconds: float) -> None:
    verdict, after = judged(spoken_seconds, "stop")
    assert verdict is Verdict.ENDED
    assert after <= min(spoken_seconds + ENDED_SECONDS + FRAME_SECONDS, DECIDE_SECONDS)


@pytest.mark.parametrize(
    ("text", "confidence", "takes"),
    [
        ("stop", 0.9, True),
        ("Stop!", 0.9, True),
        ("yeah stop", 0.9, True),
        ("yeah", 0.9, False),
        ("Yeah. Okay.", 0.9, False),
        ("the flood", 0.1, False),
        ("", 1.0, False),
    ],
)
def test_sure_words_that_are_not_listed_take_the_floor(text: str, confidence: float, takes: bool) -> None:
    assert BackChannel(LISTED, 0.0, []).takes_floor(text, confidence) is takes


def test_a_language_without_a_list_has_back_channels_by_confidence() -> None:
    doubt = BackChannel((), 0.0, [])
    assert doubt.takes_floor("genau", 0.9)
    assert not doubt.takes_floor("nn", 0.3)


def test_the_frames_are_kept_for_whoever_goes_on() -> None:
    doubt = BackChannel(LISTED, 0.0, [FRAME])
    doubt.feed(FRAME, 0.0, "")
    assert len(doubt.frames) == 2
