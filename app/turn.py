"""Decides *when*: who has the floor, and where an utterance begins and ends. Knows no sockets, models or clocks.

Time is audio heard: the caller of `Endpointer.feed` says how many seconds a frame lasts, so a test needs no clock.
Two things run side by side, the caller's speech and the service's reply, and each has its own transition table; a
caller who talks over a reply that must not be interrupted is both SPEAKING and answered.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from app.errors import IllegalTransition

MIN_SPEECH_SECONDS = 0.09
"""Speech needed to open an utterance: three frames. One frame alone is a click or a cough, and would cut a reply."""
HYSTERESIS = 0.15
"""An open utterance goes silent only below threshold - 0.15, as in Silero's reference code: soft vowels flicker."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller speaks."""

    start_seconds: float
    """Where the utterance begins in all audio heard, prefix padding included."""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller has been silent long enough."""

    end_seconds: float
    """Where the silence began, in all audio heard."""
    waited_seconds: float
    """Silence heard since, in order to be sure: the endpoint wait."""


class Endpointer:
    """Server VAD: speech probabilities to utterances, counting down seconds that it is fed."""

    def __init__(self, *, threshold: float, prefix_padding_seconds: float, silence_seconds: float) -> None:
        self.threshold = threshold
        self.prefix_padding_seconds = prefix_padding_seconds
        self.silence_seconds = silence_seconds
        """That ends an utterance; may be changed while it is open."""
        self.heard_seconds = 0.0
        """All audio fed so far."""
        self.speaking = False
        self._speech_run = 0.0  # seconds of unbroken speech before an utterance is open
        self._silence_run = 0.0  # seconds since an open utterance went silent

    def feed(self, seconds: float, speech_probability: float) -> SpeechStarted | SpeechStopped | None:
        """One frame's duration and speech probability; at most one thing begins or ends with it."""
        self.heard_seconds += seconds
        if not self.speaking:
            self._speech_run = self._speech_run + seconds if speech_probability >= self.threshold else 0.0
            # Half a frame of tolerance: sums of 0.032 s must reach three frames whatever the rounding.
            if self._speech_run < MIN_SPEECH_SECONDS - seconds / 2:
                return None
            start = self.heard_seconds - self._speech_run - self.prefix_padding_seconds
            self.speaking = True
            self._silence_run = 0.0
            return SpeechStarted(max(0.0, start))
        if speech_probability >= self.threshold:
            self._silence_run = 0.0
        elif self._silence_run > 0 or speech_probability < self.threshold - HYSTERESIS:
            self._silence_run += seconds
        if self._silence_run < self.silence_seconds or self._silence_run == 0:
            return None
        stopped = SpeechStopped(self.heard_seconds - self._silence_run, self._silence_run)
        self.stop()
        return stopped

    @property
    def silent_seconds(self) -> float:
        """Silence heard since the last speech of the open utterance; 0 while it is spoken, and between utterances."""
        return self._silence_run

    def stop(self) -> None:
        """Closes the open utterance from outside: a manual commit or clear."""
        self.speaking = False
        self._speech_run = 0.0
        self._silence_run = 0.0


class Ear(enum.Enum):
    """What the caller does."""

    QUIET = "quiet"
    UNSURE = "unsure"  # something is said over a reply: it may be no more than "mm-hmm"
    SPEAKING = "speaking"


class Mouth(enum.Enum):
    """What the service does."""

    SILENT = "silent"
    REPLYING = "replying"


class TurnEvent(enum.Enum):
    """Everything that moves a turn."""

    SPEECH_SUSPECTED = "speech_suspected"
    SPEECH_DISMISSED = "speech_dismissed"
    SPEECH_STARTED = "speech_started"
    SPEECH_STOPPED = "speech_stopped"
    SPEECH_DISCARDED = "speech_discarded"  # the client cleared the buffer, or turned detection off
    RESPONSE_CREATED = "response_created"
    RESPONSE_DONE = "response_done"
    BARGED_IN = "barged_in"  # the caller spoke over an interruptible reply
    CANCELLED = "cancelled"  # the client asked for it


EAR_TRANSITIONS: dict[Ear, dict[TurnEvent, Ear]] = {
    Ear.QUIET: {TurnEvent.SPEECH_STARTED: Ear.SPEAKING, TurnEvent.SPEECH_SUSPECTED: Ear.UNSURE},
    Ear.UNSURE: {
        TurnEvent.SPEECH_STARTED: Ear.SPEAKING,
        TurnEvent.SPEECH_DISMISSED: Ear.QUIET,
        TurnEvent.SPEECH_DISCARDED: Ear.QUIET,
    },
    Ear.SPEAKING: {TurnEvent.SPEECH_STOPPED: Ear.QUIET, TurnEvent.SPEECH_DISCARDED: Ear.QUIET},
}
MOUTH_TRANSITIONS: dict[Mouth, dict[TurnEvent, Mouth]] = {
    Mouth.SILENT: {TurnEvent.RESPONSE_CREATED: Mouth.REPLYING},
    Mouth.REPLYING: {
        TurnEvent.RESPONSE_DONE: Mouth.SILENT,
        TurnEvent.BARGED_IN: Mouth.SILENT,
        TurnEvent.CANCELLED: Mouth.SILENT,
    },
}
_EAR_EVENTS = {event for row in EAR_TRANSITIONS.values() for event in row}


class Turn:
    """Who has the floor."""

    def __init__(self) -> None:
        self.ear = Ear.QUIET
        self.mouth = Mouth.SILENT

    def apply(self, event: TurnEvent) -> None:
        """Moves on. Raises IllegalTransition, and then nothing has changed."""
        if event in _EAR_EVENTS:
            if event not in EAR_TRANSITIONS[self.ear]:
                raise IllegalTransition(f"{event.value} cannot follow while the caller is {self.ear.value}")
            self.ear = EAR_TRANSITIONS[self.ear][event]
            return
        if event not in MOUTH_TRANSITIONS[self.mouth]:
            raise IllegalTransition(f"{event.value} cannot follow while the service is {self.mouth.value}")
        self.mouth = MOUTH_TRANSITIONS[self.mouth][event]
