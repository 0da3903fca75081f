"""One caller of a bench: says a recording in real time, hears the reply as an ear would. Knows only the protocol."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.audio import BYTES_PER_SAMPLE, REALTIME_RATE, Pcm16, seconds_of, to_waveform
from app.errors import ParleyError
from app.talk import FRAME_BYTES, FRAME_SECONDS, TRANSCRIBE, dial

STAGES = ("recognizer_ms", "first_token_ms", "first_clause_ms", "first_audio_ms")
"""Of parley.turn.timings, consecutive from the end of the endpoint wait to the first audio."""
TURN_SECONDS = 30.0  # for an answer; a turn without one counts as unanswered
SILENCE = 0.01  # of full scale; what is quieter at a recording's end is no speech
LATE_SECONDS = 0.02  # what any sound card has buffered: audio that comes later than this leaves a gap


class Ear:
    """Plays audio as it comes; gaps are underruns. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self.pcm = bytearray()
        """PCM16 at REALTIME_RATE."""
        self.began: float | None = None
        """When the first audio came."""
        self.ends = 0.0
        """When all that has come so far will have been heard."""
        self.underruns = 0
        self.gap_seconds = 0.0

    def hear(self, pcm: Pcm16, now: float) -> None:
        """Audio that has come now."""
        if self.began is None:
            self.began = self.ends = now
        elif (gap := now - self.ends) > LATE_SECONDS:
            self.underruns += 1
            self.gap_seconds += gap
        self.pcm += pcm
        self.ends = max(self.ends, now) + seconds_of(pcm, REALTIME_RATE)


@dataclass(slots=True)
class Outcome:
    """One turn."""

    heard: str = ""
    replied: str = ""
    ear: Ear = field(default_factory=Ear)
    done: bool = False
    """The reply came to its end."""
    refused: bool = False
    """The service said that it is full."""
    failure: str = ""
    """What the service said when it failed."""
    timings: dict[str, float] | None = None
    """parley.turn.timings: endpoint_wait_ms and STAGES."""
    spoken_at: float = 0.0
    """When the last sound of the recording was sent."""

    @property
    def first_audio_ms(self) -> float | None:
        """End of speech to first audio by the service's clock, endpoint wait excluded."""
        return None if self.timings is None else sum(self.timings[stage] for stage in STAGES)

    @property
    def felt_ms(self) -> float | None:
        """Last sound sent to first audio received by the caller's clock, everything included."""
        return None if self.ear.began is None else (self.ear.began - self.spoken_at) * 1000


def appends(pcm: Pcm16) -> list[str]:
    """A recording as the messages that carry it, FRAME_SECONDS each."""
    frames = [pcm[start : start + FRAME_BYTES].ljust(FRAME_BYTES, b"\0") for start in range(0, len(pcm), FRAME_BYTES)]
    return [
        orjson.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(frame).decode()}).decode()
        for frame in frames
    ]


def without_trailing_silence(pcm: Pcm16) -> Pcm16:
    """The recording up to its last sound, where the caller has ended."""
    loud = np.flatnonzero(np.abs(to_waveform(pcm)) > SILENCE)
    return pcm[: (int(loud[-1]) + 1) * BYTES_PER_SAMPLE] if len(loud) else pcm


async def turn(url: str, recording: Sequence[str]) -> Outcome:
    """One session in which the messages of one recording are sent at the pace of speech, then silence; never raises
    for what the service does."""
    outcome = Outcome()
    try:
        async with asyncio.timeout(len(recording) * FRAME_SECONDS + TURN_SECONDS):
            async with dial(url, "", os.environ.get("PARLEY_API_KEY", "")) as socket:
                await socket.send(orjson.dumps(TRANSCRIBE).decode())
                speaking = asyncio.create_task(_speak(socket, recording, outcome))
                try:
                    while not (outcome.done or outcome.failure):
                        _take(orjson.loads(await socket.recv()), outcome)
                finally:
                    speaking.cancel()
    except TimeoutError:
        outcome.failure = "no answer came"
    except (ParleyError, ConnectionClosed) as error:
        outcome.failure = str(error)
        outcome.refused = isinstance(error.__cause__, InvalidStatus)  # an answer, but no session
    return outcome


async def _speak(socket: ClientConnection, recording: Sequence[str], outcome: Outcome) -> None:
    (silence,) = appends(bytes(FRAME_BYTES))
    due = time.monotonic()
    sent = 0
    try:
        while True:
            await socket.send(recording[sent] if sent < len(recording) else silence)
            sent += 1
            due += FRAME_SECONDS
            if sent == len(recording):
                outcome.spoken_at = time.monotonic()
            await asyncio.sleep(due - time.monotonic())
    except ConnectionClosed:
        return  # who listens finds out as well, and says so


def _take(event: dict[str, Any], outcome: Outcome) -> None:
    match event["type"]:
        case "conversation.item.input_audio_transcription.completed":
            outcome.heard = f"{outcome.heard} {event['transcript']}".strip()
        case "conversation.item.input_audio_transcription.failed":
            _fail(event["error"], outcome)
        case "response.output_audio_transcript.delta":
            outcome.replied += event["delta"]
        case "response.output_audio.delta":
            outcome.ear.hear(base64.b64decode(event["delta"]), time.monotonic())
        case "parley.turn.timings":
            outcome.timings = {key: float(event[key] or 0) for key in ("endpoint_wait_ms", *STAGES)}
        case "response.done":
            status = event["response"]["status"]
            outcome.done = status in ("completed", "incomplete")
            if status == "failed":
                _fail((event["response"]["status_details"] or {}).get("error") or {}, outcome)
        case "error":
            _fail(event["error"], outcome)


def _fail(error: dict[str, Any], outcome: Outcome) -> None:
    outcome.failure = str(error.get("message") or "failed")
    outcome.refused = error.get("code") == "worker_busy"
