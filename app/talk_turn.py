"""What one recording of `parley talk` led to: server events in, readable lines out. Knows no socket and no file."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from app.audio import REALTIME_RATE, seconds_of

Json: TypeAlias = dict[str, Any]

BAR_CHARACTERS = 32  # of the longest stage
STAGES = {
    "endpoint_wait_ms": "endpoint wait",
    "recognizer_ms": "recognizer",
    "first_token_ms": "first token",
    "first_clause_ms": "first clause",
    "first_audio_ms": "first audio",
}
"""Of parley.turn.timings, in the order in which they pass."""


class Turn:
    """What one recording led to: prints it as it comes, and knows when nothing more is to be expected."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.answered = False
        """Whether a reply came and did not fail."""
        self.audio = bytearray()
        """The replies, PCM16 at REALTIME_RATE."""
        self.heard_speech = False
        self._write = write
        self._line = ""  # the label of the line that is being written
        self._unfinished: set[str] = set()  # utterances without a transcript
        self._owed = False  # something was understood and its reply has not begun
        self._replying = False
        self._timings: Json | None = None
        self._first_audio = 0.0

    @property
    def settled(self) -> bool:
        """Whether everything that was heard so far has had its answer."""
        return not (self._unfinished or self._owed or self._replying)

    @property
    def still_speaking_seconds(self) -> float:
        """Until the reply would have been heard, had it been played as it came."""
        return max(0.0, self._first_audio + seconds_of(bytes(self.audio), REALTIME_RATE) - time.monotonic())

    def take(self, event: Json) -> None:
        """One server event."""
        match event["type"].removeprefix("conversation.item.input_audio_"):
            case "input_audio_buffer.speech_started":
                self.heard_speech = True
                self._unfinished.add(event["item_id"])
            case "transcription.delta":
                self._print("hearing", event["delta"])
            case "transcription.completed":
                self._unfinished.discard(event["item_id"])
                self._owed |= bool(event["transcript"])
                self._print_line("you", event["transcript"] or "(nothing that could be understood)")
            case "transcription.failed":
                self._unfinished.discard(event["item_id"])
                self._print_line("failed", f"not understood: {event['error']['message']}")
            case "response.created":
                self._replying, self._owed = True, False
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self._print("parley", event["delta"])
            case "response.output_audio.delta":
                self._first_audio = self._first_audio or time.monotonic()
                self.audio += base64.b64decode(event["delta"])
            case "parley.turn.timings":
                self._timings = event
            case "response.done":
                self._finish(event["response"])
            case "error":
                self._print_line("error", event["error"]["message"])

    def give_up(self, words: str) -> None:
        """Ends the turn without an answer."""
        self._print_line("failed", words)

    def _finish(self, response: Json) -> None:
        self._replying = False
        details = response["status_details"] or {}
        if response["status"] == "failed":
            self._print_line("failed", f"the reply failed: {(details.get('error') or {}).get('message')}")
        else:
            self.answered = True
        if response["status"] in ("cancelled", "incomplete"):
            self._print("parley", f" ({details.get('reason')})")
        self._end_line()
        if self._timings is not None:
            self._write("".join(f"  {line}\n" for line in time_line(self._timings)))
            self._timings = None

    def _print(self, label: str, text: str) -> None:
        if self._line != label:
            self._end_line()
            self._write(f"  {label:<8} ")
            self._line = label
            text = text.lstrip()
        self._write(text)

    def _print_line(self, label: str, text: str) -> None:
        self._end_line()
        self._print(label, text)
        self._end_line()

    def _end_line(self) -> None:
        if self._line:
            self._write("\n")
        self._line = ""


def time_line(timings: Json) -> list[str]:
    """A bar of text for each stage of parley.turn.timings, and the sums."""
    passed = {name: float(timings[key]) for key, name in STAGES.items() if timings.get(key) is not None}
    longest = max(passed.values(), default=0.0) or 1.0
    lines = []
    for name, milliseconds in passed.items():
        bar = "█" * max(1, round(BAR_CHARACTERS * milliseconds / longest))
        lines.append(f"{name:<14} {bar:<{BAR_CHARACTERS}} {milliseconds:6.0f} ms")
    total = sum(passed.values())
    wait = passed.get("endpoint wait", 0.0)
    return [*lines, f"{total - wait:.0f} ms from the end of speech to the first sound, {total:.0f} ms with the wait"]
