"""Where the milliseconds of one turn went. Knows nothing of what the stages do.

Times are `time.monotonic()` seconds; stages are consecutive, so all but the endpoint wait add up to
end of speech to first audio.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Literal

from app import metrics, tracing
from app.reply import close
from app.server_events import TurnTimings

if TYPE_CHECKING:
    from opentelemetry.trace import Span


@dataclass(slots=True)
class TurnClock:
    """One turn's moments; None until they happen."""

    waited_seconds: float | None = None
    """Silence that the service heard before it was sure that the caller had ended; None for push-to-talk and text."""
    ended: float | None = None
    """When the utterance was known to be over, or the client committed it; None for a typed turn."""
    asked: float | None = None
    """When the words were there and the language model was asked."""
    utterance: Span | None = None
    """The trace's first span; None while tracing is off, and for a typed turn."""
    reply: Span | None = None
    first_token: float | None = None
    first_clause: float | None = None
    first_audio: float | None = None
    """When the first audio was handed to the socket."""

    async def note(
        self, moment: Literal["first_token", "first_clause"], source: AsyncIterator[str]
    ) -> AsyncGenerator[str, None]:
        """The same items; `moment` is when the first of them came."""
        try:
            async for item in source:
                if getattr(self, moment) is None:
                    setattr(self, moment, monotonic())
                yield item
        finally:
            await close(source)

    def count(self) -> None:
        """Puts the stages into metrics and trace; to be called once, at the first audio."""
        if self.asked is None or self.first_token is None or self.first_clause is None or self.first_audio is None:
            return
        if self.waited_seconds is not None:
            metrics.ENDPOINT_WAIT.observe(self.waited_seconds)
        if self.ended is not None:
            tracing.record("endpoint wait", self.ended - (self.waited_seconds or 0.0), self.ended, self.utterance)
            tracing.record("recognizer", self.ended, self.asked, self.utterance)
            metrics.RECOGNIZER.observe(self.asked - self.ended)
            metrics.ANSWER.observe(self.first_audio - self.ended)
        tracing.record("first token", self.asked, self.first_token, self.reply)
        tracing.record("first clause", self.first_token, self.first_clause, self.reply)
        tracing.record("first audio", self.first_clause, self.first_audio, self.reply)
        metrics.FIRST_TOKEN.observe(self.first_token - self.asked)
        metrics.FIRST_CLAUSE.observe(self.first_clause - self.first_token)
        metrics.FIRST_AUDIO.observe(self.first_audio - self.first_clause)

    def report(self, response_id: str, item_id: str) -> TurnTimings | None:
        """The event for the client; None while a stage has not happened."""
        if self.asked is None or self.first_token is None or self.first_clause is None or self.first_audio is None:
            return None
        return TurnTimings(
            response_id=response_id,
            item_id=item_id,
            endpoint_wait_ms=None if self.waited_seconds is None else _ms(self.waited_seconds),
            recognizer_ms=None if self.ended is None else _ms(self.asked - self.ended),
            first_token_ms=_ms(self.first_token - self.asked),
            first_clause_ms=_ms(self.first_clause - self.first_token),
            first_audio_ms=_ms(self.first_audio - self.first_clause),
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
