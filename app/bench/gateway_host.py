"""The processes that `parley bench gateway` loads: a gateway, and workers that do nothing but note the time.

`python -m app.bench.gateway_host gateway PORT [WORKERS_URL]`, or `... workers PORT`; without a URL the gateway has the
workers in its own process. `/noted` tells when frames were handed over. Clocks are `time.monotonic()`, which all
processes of a Linux machine share.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from fastapi import FastAPI

from app import listen, tracing
from app.access import Access
from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, REALTIME_RATE, Pcm16, seconds_of
from app.config import Settings
from app.gateway import GatewayOptions, create_app
from app.packs import find_pack
from app.speaking import Workers
from app.workers import connect, server
from app.workers.base import ChatRequest, Health, ReplyPart, SpeechChunk, TextDelta, Transcript, Usage

HEARD = "what time is it"
REPLY = ("It is ", "ten past ", "four, ", "and the ", "sun is ", "out.")
CHUNK_SECONDS = 0.2  # of audio; one event of the protocol holds as much
CHUNK_EVERY_SECONDS = 0.05  # a voice four times faster than real time
CHARACTERS_PER_CHUNK = 3
STAMP = struct.Struct("<d")
"""Monotonic seconds, first in each chunk's PCM: at REALTIME_RATE the gateway passes samples on unchanged."""


class NotingRecognizer:
    """Notes when each frame was handed over."""

    def __init__(self) -> None:
        self.noted: dict[str, list[list[float]]] = {}
        """By session: of each utterance the time of each frame."""

    async def start(self, **asked: object) -> NotingRecognition:
        """An utterance; what is asked for changes nothing."""
        times: list[float] = []
        self.noted.setdefault(tracing.session.get(), []).append(times)
        return NotingRecognition(times)

    async def health(self) -> Health:
        """Always well."""
        return Health("recognizer", "noting", "bench")


class NotingRecognition:
    """One utterance."""

    def __init__(self, times: list[float]) -> None:
        self._times = times
        self._seconds = 0.0
        self._ended = asyncio.Event()

    def feed(self, frame: Pcm16) -> None:
        """Notes the time."""
        self._times.append(time.monotonic())
        self._seconds += seconds_of(frame, HEARING_RATE)

    async def hypotheses(self) -> AsyncIterator[str]:
        """One, and no other."""
        yield HEARD
        await self._ended.wait()

    async def finish(self) -> Transcript:
        """Always the same."""
        self._ended.set()
        return Transcript(HEARD, self._seconds, engine="noting")

    async def abort(self) -> None:
        """Ends the hypotheses."""
        self._ended.set()


class PlainLanguage:
    """Writes REPLY."""

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """A delta a word or two."""
        for delta in REPLY:
            await asyncio.sleep(0)
            yield TextDelta(delta)
        yield Usage(len(request.messages), len(REPLY), "stop")

    async def health(self) -> Health:
        """Always well."""
        return Health("language", "plain", "bench")


class StampedSynthesizer:
    """Silence in chunks, each with the time at which it left here."""

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """A chunk every CHUNK_EVERY_SECONDS."""
        silence = bytes(round(CHUNK_SECONDS * REALTIME_RATE) * BYTES_PER_SAMPLE - STAMP.size)
        for start in range(0, len(text), CHARACTERS_PER_CHUNK):
            await asyncio.sleep(CHUNK_EVERY_SECONDS)
            span = (start, min(len(text), start + CHARACTERS_PER_CHUNK))
            yield SpeechChunk(STAMP.pack(time.monotonic()) + silence, REALTIME_RATE, span)

    async def health(self) -> Health:
        """Always well."""
        return Health("synthesizer", "stamped", "bench", {"voices": ["nova"]})


def gateway(workers_url: str = "") -> FastAPI:
    """A gateway with workers at a URL, or in its own process."""
    settings = Settings()
    pack = find_pack(Path(settings.packs), settings.pack)
    recognizer = NotingRecognizer()
    workers = Workers(recognizer, PlainLanguage(), StampedSynthesizer())
    if workers_url:
        workers = Workers(
            connect.reach_recognizer(f"{workers_url}/recognizer"),
            connect.reach_language(f"{workers_url}/language/v1", model=pack.name),
            connect.reach_synthesizer(f"{workers_url}/synthesizer"),
        )
    app = create_app(pack, workers, options=GatewayOptions(max_sessions=100_000))
    app.add_api_route("/noted", lambda: recognizer.noted)
    app.add_api_route("/process", os.getpid)
    return app


def workers() -> FastAPI:
    """The three workers, each below a path of its own."""
    recognizer, access = NotingRecognizer(), Access()
    app = FastAPI()
    app.add_api_route("/noted", lambda: recognizer.noted)
    app.add_api_route("/process", os.getpid)
    app.mount("/recognizer", server.recognizer_app(recognizer, access=access, model="en-starter"))
    app.mount("/language", server.language_app(PlainLanguage(), access=access, model="en-starter"))
    app.mount("/synthesizer", server.synthesizer_app(StampedSynthesizer(), access=access, model="en-starter"))
    return app


def main(arguments: Sequence[str]) -> None:
    """Serves until it is ended."""
    logging.basicConfig(level="WARNING")
    role, port, *urls = arguments
    listen.run(gateway(*urls) if role == "gateway" else workers(), "127.0.0.1", int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
