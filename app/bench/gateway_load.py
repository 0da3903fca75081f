"""Callers of `parley bench gateway`: real WebSocket sessions in real time, so cheap that hundreds fit one core.

Frames are encoded once and written as they are; of what comes back only types and time stamps are read.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import orjson
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from app.audio import BYTES_PER_SAMPLE, FRAME_SAMPLES, HEARING_RATE, REALTIME_RATE, Pcm16, Resampler
from app.bench.gateway_host import STAMP

APPEND_SECONDS = 0.02  # as the page's microphone sends
APPEND_BYTES = round(APPEND_SECONDS * REALTIME_RATE) * BYTES_PER_SAMPLE
DELTA = b'"type":"response.output_audio.delta"'
AUDIO = b'"delta":"'
STAMP_CHARACTERS = 12  # of base64: 9 bytes


@dataclass(slots=True)
class Call:
    """What one caller notes; times are `time.monotonic()` seconds."""

    session: str = ""
    sent: list[float] = field(default_factory=list)
    """When each append left."""
    started_ms: list[int] = field(default_factory=list)
    """Of each utterance: where it begins, in audio sent."""
    chunks: list[tuple[float, float]] = field(default_factory=list)
    """(left the voice, came here) of each chunk."""
    replies: int = 0
    errors: list[str] = field(default_factory=list)


class Caller(asyncio.Protocol):
    """One session; `talk` sends `frames` over and over."""

    def __init__(self, url: str, frames: Sequence[bytes], call: Call) -> None:
        self._socket = ClientProtocol(parse_uri(url), max_size=None)
        self._frames = frames
        self._call = call
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._due = 0.0
        self._silent = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the upgrade."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self._socket.send_request(self._socket.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Notes what came."""
        now = time.monotonic()
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Response) and event.status_code != 101:
                self.opened.set_exception(ConnectionError(f"the handshake was answered {event.status_code}"))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._take(bytes(event.data), now)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """A call that is not hung up here should not end."""
        if not self._silent:
            self._call.errors.append(f"connection lost: {error}")
        self._silent = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the connection was closed before the session began"))

    def talk(self) -> None:
        """Begins to send, and goes on until `hang_up`."""
        self._silent = False
        self._due = asyncio.get_running_loop().time()
        self._send()

    def hang_up(self) -> None:
        """Ends the call."""
        self._silent = True
        if self._transport is not None:
            self._transport.abort()

    def _send(self) -> None:
        if self._silent or self._transport is None:
            return
        self._call.sent.append(time.monotonic())
        self._transport.write(self._frames[(len(self._call.sent) - 1) % len(self._frames)])
        self._due += APPEND_SECONDS
        asyncio.get_running_loop().call_at(self._due, self._send)

    def _take(self, frame: bytes, now: float) -> None:
        if DELTA in frame[:80]:
            start = frame.index(AUDIO) + len(AUDIO)
            (left,) = STAMP.unpack_from(base64.b64decode(frame[start : start + STAMP_CHARACTERS]))
            self._call.chunks.append((left, now))
            return
        event = orjson.loads(frame)
        if event["type"] == "session.created":
            self._call.session = event["session"]["id"]
            self.opened.set_result(None)
        elif event["type"] == "input_audio_buffer.speech_started":
            self._call.started_ms.append(event["audio_start_ms"])
        elif event["type"] == "response.done":
            self._call.replies += event["response"]["status"] == "completed"
        elif event["type"] == "error":
            self._call.errors.append(event["error"]["message"])

    def _flush(self) -> None:
        if self._transport is not None and (data := b"".join(self._socket.data_to_send())):
            self._transport.write(data)


def frames_of(pcm: Pcm16) -> list[bytes]:
    """The appends of a recording as WebSocket frames, masked once."""
    frames = []
    for start in range(0, len(pcm) - APPEND_BYTES + 1, APPEND_BYTES):
        audio = base64.b64encode(pcm[start : start + APPEND_BYTES]).decode()
        event = orjson.dumps({"type": "input_audio_buffer.append", "audio": audio})
        frames.append(Frame(Opcode.TEXT, event).serialize(mask=True))
    return frames


def completed_by(appends: int) -> list[int]:
    """Of each frame that the gateway makes of so many appends: the append that completed it."""
    resampler = Resampler(REALTIME_RATE, HEARING_RATE)
    completed: list[int] = []
    samples = 0
    for append in range(appends):
        samples += len(resampler.feed(bytes(APPEND_BYTES))) // BYTES_PER_SAMPLE
        completed += [append] * (samples // FRAME_SAMPLES - len(completed))
    return completed
