"""Whether speech over a reply takes the floor, or only says "mm-hmm". Sans-I/O, time is audio heard.

Speech that goes on takes the floor. Speech that has ended by then is judged by its words: short commands do take the
floor, what the pack lists as said while listening does not, and neither does what the recognizer is not sure of.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from app.audio import FRAME_SECONDS, Pcm16
from app.endings import normal
from app.turn import MIN_SPEECH_SECONDS

DECIDE_SECONDS = 0.48  # of speech heard: with VAD's delay and the recognizer's answer, the caller knows after 0.6 s
ENDED_SECONDS = 0.2  # of silence: "mm-hmm" has a gap of up to 0.15 s
QUIET_SECONDS = 2 * FRAME_SECONDS  # of silence that counts as ended when it has to be decided
SURE = 0.75  # confidence of words that take the floor: of what no language has, recognizers make words all the same


class Verdict(enum.Enum):
    """What is known so far."""

    OPEN = "open"
    ENDED = "ended"  # the words decide
    TAKES_FLOOR = "takes floor"
    BACK_CHANNEL = "back-channel"


class BackChannel:
    """Speech over one reply, from its first frames until it is decided; it keeps the frames."""

    def __init__(self, listed: Collection[str], start_seconds: float, frames: list[Pcm16]) -> None:
        """`listed`: what callers say while they listen; the frames are those before the speech was noticed."""
        self.start_seconds = start_seconds
        """Where it begins in all audio heard."""
        self.frames = frames
        self._listed = {" ".join(normal(words)) for words in listed}
        self._starts = {words[:length] for words in self._listed for length in range(1, len(words) + 1)}
        self._spoken_seconds = MIN_SPEECH_SECONDS

    def feed(self, frame: Pcm16, silent_seconds: float, text: str) -> Verdict:
        """The next frame, the silence since the last speech, and the recognizer's text so far."""
        self.frames.append(frame)
        self._spoken_seconds += FRAME_SECONDS
        late = self._spoken_seconds >= DECIDE_SECONDS
        if silent_seconds >= ENDED_SECONDS or (late and silent_seconds >= QUIET_SECONDS):
            return Verdict.ENDED
        if not late:
            return Verdict.OPEN
        return Verdict.BACK_CHANNEL if self._may_be_listed(text) else Verdict.TAKES_FLOOR

    def takes_floor(self, text: str, confidence: float) -> bool:
        """What speech that has ended was, by its words."""
        words = " ".join(normal(text))
        return bool(words) and confidence >= SURE and not self._is_listed(words)

    def _is_listed(self, words: str) -> bool:
        """Whether the words are one or several of the list."""
        return words in self._listed or any(
            words.startswith(f"{first} ") and self._is_listed(words[len(first) + 1 :]) for first in self._listed
        )

    def _may_be_listed(self, text: str) -> bool:
        """The same of words of which the last may be half."""
        words = " ".join(normal(text))
        return words in self._starts or any(
            words.startswith(f"{first} ") and self._may_be_listed(words[len(first) + 1 :]) for first in self._listed
        )
