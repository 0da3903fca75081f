"""A Realtime client for tests that counts on nothing: sends events, collects what comes, in order."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from app.audio import REALTIME_RATE, Pcm16
from tests.sounds import silence

Event = dict[str, Any]
FRAME_BYTES = REALTIME_RATE // 50 * 2  # 20 ms


class Caller:
    """One session; `log` holds every event received so far."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.log: list[Event] = []

    async def send(self, type: str, **fields: Any) -> None:
        """One client event."""
        await self._socket.send(orjson.dumps({"type": type, **fields}).decode())

    async def send_raw(self, frame: str | bytes) -> None:
        """Anything."""
        await self._socket.send(frame)

    async def say(self, pcm: Pcm16, *, then_silence: float = 0.0) -> None:
        """Audio in 20 ms events, as fast as they are taken: time is audio heard."""
        pcm += silence(then_silence)
        for start in range(0, len(pcm), FRAME_BYTES):
            chunk = base64.b64encode(pcm[start : start + FRAME_BYTES]).decode()
            await self.send("input_audio_buffer.append", audio=chunk)

    async def next(self) -> Event:
        """The next event."""
        async with asyncio.timeout(20):
            event: Event = orjson.loads(await self._socket.recv())
        self.log.append(event)
        return event

    async def until(self, type: str) -> Event:
        """The next event of a type; those before it are in the log."""
        while (event := await self.next())["type"] != type:
            pass
        return event

    def types(self) -> list[str]:
        """Types of the log, runs of the same delta shown once."""
        types: list[str] = []
        for event in self.log:
            if not types or types[-1] != event["type"] or not event["type"].endswith("delta"):
                types.append(event["type"])
        return types

    def all(self, type: str) -> list[Event]:
        """Events of a type in the log."""
        return [event for event in self.log if event["type"] == type]

    def text(self, type: str) -> str:
        """Concatenated deltas of a type."""
        return "".join(event["delta"] for event in self.all(type))


@contextlib.asynccontextmanager
async def calling(url: str, query: str = "") -> AsyncIterator[Caller]:
    """A session with the service at an http:// URL."""
    address = "ws" + url.removeprefix("http") + "/v1/realtime" + query
    # Reads whatever comes: with a full queue, a caller who leaves in mid-reply would wait 10 s for the server's close.
    async with connect(address, max_size=None, max_queue=None, compression=None, proxy=None) as socket:
        caller = Caller(socket)
        await caller.until("session.created")
        yield caller
