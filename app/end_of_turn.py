"""Whether a caller who has fallen silent has finished: how long `semantic_vad` waits. Sans-I/O, time is audio heard.

Two kinds of evidence are added up: how the last words were spoken (`prosody.py`, any language), and whether the words
so far read finished (`endings.py`, where the pack has a list). The surer, the sooner the turn ends. A caller who
sounds unfinished is waited for, but never longer than the eagerness allows.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, Pcm16, seconds_of, to_waveform
from app.endings import Endings
from app.prosody import TAIL_SECONDS, Array, Prosody, prosody

LOOK_SECONDS = 0.16  # of silence before the end of the speech is looked at: a stop consonant is silent for 0.1 s
STABLE_SECONDS = 0.2  # for which a hypothesis has to stand: before that, its last word may be half a word
TAIL_BYTES = int((TAIL_SECONDS + LOOK_SECONDS) * HEARING_RATE) * BYTES_PER_SAMPLE
WEIGHTS = Path(__file__).with_name("end_of_turn.json")


@dataclass(frozen=True, slots=True)
class Eagerness:
    """How long silence must last to end a turn."""

    usual_seconds: float
    """Where nothing speaks for an end or against it."""
    shortest_seconds: float
    longest_seconds: float


EAGERNESS = {
    "high": Eagerness(0.4, 0.2, 1.2),
    "medium": Eagerness(0.55, 0.25, 2.0),
    "low": Eagerness(0.8, 0.4, 3.0),
}
"""`auto` is medium. The longest are below the 2, 4 and 8 s of the service imitated: a caller who is met by seconds of
silence asks whether somebody is there."""
TRUST = 0.6  # how much of the evidence goes into the wait: more spares few turns and makes the slowest far slower


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic regression over `Prosody.array()`, made by `python -m finetune.end_of_turn`."""

    means: Array
    """[6] of the features, which are centred and scaled by them."""
    scales: Array
    weights: Array
    """[6] of the scaled features."""
    bias: float

    def log_odds(self, spoken: Prosody) -> float:
        """That the speech ended a turn, ends and pauses being equally frequent."""
        return float((spoken.array() - self.means) / self.scales @ self.weights) + self.bias


@cache
def weights() -> Weights:
    """Those that come with the service."""
    table = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    means, scales, values = (np.array(table[key]) for key in ("means", "scales", "weights"))
    return Weights(means, scales, values, table["bias"])


class EndOfTurn:
    """One utterance: frames and hypotheses in, how long silence must last out."""

    def __init__(self, eagerness: str, endings: Endings | None = None, model: Weights | None = None) -> None:
        """`eagerness` as in session.update: low, medium, high or auto."""
        self._eagerness = EAGERNESS["medium" if eagerness == "auto" else eagerness]
        self._endings = endings
        self._model = model or weights()
        self._tail = bytearray()
        self._fed_seconds = 0.0
        self._text = ""
        self._text_since = 0.0  # seconds fed when the hypothesis last changed
        self._spoken: float | None = None  # log odds of the last words' prosody, once it has been looked at

    def feed(self, frame: Pcm16) -> None:
        """The next audio, PCM16 at HEARING_RATE."""
        self._fed_seconds += seconds_of(frame, HEARING_RATE)
        self._tail += frame
        if len(self._tail) > TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def hears(self, text: str) -> None:
        """The recognizer's text of the whole utterance so far."""
        if text != self._text:
            self._text, self._text_since = text, self._fed_seconds

    def silence_needed(self, silent_seconds: float) -> float:
        """How long silence must last in all to end the turn; to be asked with every frame, silent or not."""
        if silent_seconds < LOOK_SECONDS:
            self._spoken = None  # the caller goes on
            return self._eagerness.longest_seconds
        if self._spoken is None:
            spoken = prosody(to_waveform(bytes(self._tail)))
            self._spoken = self._model.log_odds(spoken) if spoken is not None else 0.0
        log_odds = self._spoken
        if self._endings is not None and self._fed_seconds - self._text_since >= STABLE_SECONDS:
            log_odds += self._endings.log_odds(self._text)
        wait = self._eagerness.usual_seconds * math.exp(-TRUST * log_odds)
        return min(max(wait, self._eagerness.shortest_seconds), self._eagerness.longest_seconds)
