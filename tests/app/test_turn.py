"""Endpointing on seconds heard, and the transition tables."""

from __future__ import annotations

import pytest

from app.errors import IllegalTransition
from app.turn import (
    EAR_TRANSITIONS,
    MOUTH_TRANSITIONS,
    Ear,
    Endpointer,
    Mouth,
    SpeechStarted,
    SpeechStopped,
    Turn,
    TurnEvent,
)

FRAME = 0.032


def feed(endpointer: Endpointer, *runs: tuple[float, float]) -> list[SpeechStarted | SpeechStopped]:
    """Runs of (seconds, probability); what happened."""
    happened = []
    for seconds, probability in runs:
        for _ in range(round(seconds / FRAME)):
            if (event := endpointer.feed(FRAME, probability)) is not None:
                happened.append(event)
    return happened


def endpointer(silence: float = 0.5, padding: float = 0.3) -> Endpointer:
    return Endpointer(threshold=0.5, prefix_padding_seconds=padding, silence_seconds=silence)


def test_an_utterance_starts_padded_and_stops_where_the_silence_began() -> None:
    started, stopped = feed(endpointer(), (1.0, 0.0), (2.0, 0.9), (1.0, 0.0))
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert started.start_seconds == pytest.approx(1.0 - 0.3, abs=FRAME)
    assert stopped.end_seconds == pytest.approx(3.0, abs=FRAME)
    assert stopped.waited_seconds == pytest.approx(0.5, abs=FRAME)


def test_a_click_opens_nothing_and_three_frames_do() -> None:
    assert feed(endpointer(), (1.0, 0.0), (2 * FRAME, 0.99), (1.0, 0.0)) == []
    assert len(feed(endpointer(), (1.0, 0.0), (3 * FRAME, 0.99))) == 1


def test_a_pause_shorter_than_the_silence_does_not_end_the_turn() -> None:
    happened = feed(endpointer(), (1.0, 0.9), (0.4, 0.0), (1.0, 0.9), (0.6, 0.0))
    assert [type(event) for event in happened] == [SpeechStarted, SpeechStopped]
    assert happened[1].end_seconds == pytest.approx(2.4, abs=2 * FRAME)  # type: ignore[union-attr]


def test_soft_speech_within_the_hysteresis_keeps_the_turn_open() -> None:
    assert len(feed(endpointer(), (1.0, 0.9), (3.0, 0.4))) == 1


def test_padding_never_reaches_before_the_session() -> None:
    (started,) = feed(endpointer(padding=5.0), (0.2, 0.9))
    assert started == SpeechStarted(0.0)


def test_time_is_what_was_heard() -> None:
    slow = endpointer()
    assert slow.feed(10.0, 0.9) is not None  # one long frame of speech is an utterance too
    assert slow.feed(10.0, 0.0) == SpeechStopped(10.0, 10.0)


@pytest.mark.parametrize("ear", Ear)
@pytest.mark.parametrize("mouth", Mouth)
@pytest.mark.parametrize("event", TurnEvent)
def test_every_event_moves_as_the_table_says_or_raises_and_changes_nothing(
    ear: Ear, mouth: Mouth, event: TurnEvent
) -> None:
    turn = Turn()
    turn.ear, turn.mouth = ear, mouth
    to_ear, to_mouth = EAR_TRANSITIONS[ear].get(event), MOUTH_TRANSITIONS[mouth].get(event)
    if to_ear is None and to_mouth is None:
        with pytest.raises(IllegalTransition, match=event.value):
            turn.apply(event)
        assert (turn.ear, turn.mouth) == (ear, mouth)
    else:
        turn.apply(event)
        assert (turn.ear, turn.mouth) == (to_ear or ear, to_mouth or mouth)
