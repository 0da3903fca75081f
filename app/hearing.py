"""The ear of one session: audio of any chunking in; frames, and where speech starts and stops, out. No I/O.

Knows nothing of recognizers, events or replies. Audio is resampled and framed here once, for voice activity
detection and recognition alike.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator

from app.audio import (
    BYTES_PER_SAMPLE,
    FRAME_SAMPLES,
    FRAME_SECONDS,
    HEARING_RATE,
    REALTIME_RATE,
    Pcm16,
    Resampler,
)
from app.session_config import SemanticVad, ServerVad
from app.turn import Endpointer, SpeechStarted, SpeechStopped
from app.vad import SharedVad, SpeechProbability

FRAME_BYTES = FRAME_SAMPLES * BYTES_PER_SAMPLE  # 1024
RAW_FRAME_BYTES = FRAME_BYTES * REALTIME_RATE // HEARING_RATE  # 1536
OPENING_SECONDS = 0.2  # kept beyond the prefix padding: the frames that it takes to be sure that somebody speaks


class Hearing:
    """Frames of one caller, and the frames before an utterance that belong to it."""

    def __init__(self, detection: ServerVad | SemanticVad | None, vad: SharedVad) -> None:
        self._resampler = Resampler(REALTIME_RATE, HEARING_RATE)
        self._raw = bytearray()  # not resampled yet
        self._unframed = bytearray()
        self._recent: collections.deque[Pcm16] = collections.deque()
        self._speech_probability = SpeechProbability(vad)
        self._heard_seconds = 0.0
        self.detect(detection)

    def detect(self, detection: ServerVad | SemanticVad | None) -> None:
        """How turns end from now on; None: only by hand."""
        self._endpointer: Endpointer | None = None
        if detection is not None:
            vad = detection if isinstance(detection, ServerVad) else ServerVad()
            self._endpointer = Endpointer(
                threshold=vad.threshold,
                prefix_padding_seconds=vad.prefix_padding_ms / 1000,
                silence_seconds=vad.silence_duration_ms / 1000,
            )
            self._endpointer.heard_seconds = self._heard_seconds

    @property
    def heard_seconds(self) -> float:
        """All audio of the session, in whole frames."""
        return self._heard_seconds

    @property
    def silent_seconds(self) -> float:
        """Silence since the last speech of the open utterance; 0 while it is spoken, and without one."""
        return self._endpointer.silent_seconds if self._endpointer is not None else 0.0

    def end_after(self, silence_seconds: float) -> None:
        """The open utterance ends after so much silence."""
        if self._endpointer is not None:
            self._endpointer.silence_seconds = silence_seconds

    async def feed(self, pcm: Pcm16) -> AsyncIterator[tuple[Pcm16, SpeechStarted | SpeechStopped | None]]:
        """PCM16 at REALTIME_RATE to frames at HEARING_RATE, each with what began or ended in it."""
        self._raw += pcm
        # Resampled by the frame: by the event, a short one would cost as much, and a long one hold up other callers.
        while len(self._unframed) + len(self._raw) * HEARING_RATE // REALTIME_RATE >= FRAME_BYTES:
            self._unframed += self._resampler.feed(bytes(self._raw[:RAW_FRAME_BYTES]))
            del self._raw[:RAW_FRAME_BYTES]
            if len(self._unframed) < FRAME_BYTES:
                continue
            frame = bytes(self._unframed[:FRAME_BYTES])
            del self._unframed[:FRAME_BYTES]
            self._heard_seconds += FRAME_SECONDS
            happened = None
            if self._endpointer is not None:
                happened = self._endpointer.feed(FRAME_SECONDS, await self._speech_probability(frame))
            else:
                await asyncio.sleep(0)  # minutes of audio in one event must not hold up the other callers
            self._keep(frame)
            yield frame, happened

    def since(self, start_seconds: float) -> list[Pcm16]:
        """The latest frames from `start_seconds` on, as far back as they are kept."""
        wanted = round((self._heard_seconds - start_seconds) / FRAME_SECONDS)
        return list(self._recent)[-wanted:] if wanted > 0 else []

    def end_utterance(self) -> None:
        """The utterance was ended from outside: by a commit, a clear, or its length."""
        if self._endpointer is not None:
            self._endpointer.stop()

    def clear(self) -> None:
        """Forgets audio that is not part of an utterance yet."""
        self._raw.clear()
        self._unframed.clear()
        self._recent.clear()
        self.end_utterance()

    def _keep(self, frame: Pcm16) -> None:
        self._recent.append(frame)
        padding = self._endpointer.prefix_padding_seconds if self._endpointer is not None else 0.0
        while len(self._recent) * FRAME_SECONDS > padding + OPENING_SECONDS:
            self._recent.popleft()
