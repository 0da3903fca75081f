"""Recognizers behind several URLs, as one; an utterance survives the loss of its worker. Knows no transport, no engine.

The frames of an utterance are kept, and fed once more to another worker where its own is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Unpack

from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, Pcm16
from app.errors import ParleyError, WorkerBusy, WorkerError, WorkerUnavailable
from app.reply import close
from app.workers.base import Asked, Health, Recognition, Recognizer, Transcript
from app.workers.place_health import health_of
from app.workers.places import Place, Places, nobody

log = logging.getLogger("parley.spread")

REPLAY_SECONDS = 90.0  # of an utterance: what a session lets one grow to, 2.9 MB
REPLAY_BYTES = int(REPLAY_SECONDS * HEARING_RATE) * BYTES_PER_SAMPLE


class SpreadRecognizer:
    """Recognizers by URL, as one."""

    def __init__(self, workers: Mapping[str, Recognizer], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = Places(workers, clock=clock)

    async def start(self, **asked: Unpack[Asked]) -> SpreadRecognition:
        """Opens an utterance where there is room. Raises WorkerBusy when all are full, WorkerUnavailable."""
        place, recognition = await self._open(asked)
        return SpreadRecognition(place, recognition, asked, self._open, self._places)

    async def health(self) -> Health:
        """The first healthy one's, with the state of every URL. Raises WorkerUnavailable."""
        return await health_of(self._places)

    async def _open(self, asked: Asked) -> tuple[Place[Recognizer], Recognition]:
        refusals: dict[str, WorkerError] = {}
        while (place := self._places.next(refusals)) is not None:
            place.open += 1  # at once: others choose while this one waits
            try:
                recognition = await place.worker.start(**asked)
            except WorkerUnavailable as error:
                refusals[place.url] = error
                self._places.failed(place)
                log.warning("going round %s: %s", place.url, error.message)
            except WorkerBusy as error:
                refusals[place.url] = error
            else:
                self._places.answered(place)
                place.open += 1  # the utterance's own; the other one ends here
                return place, recognition
            finally:
                place.open -= 1
        raise nobody(refusals)


class SpreadRecognition:
    """One utterance. If its worker is lost, everything fed so far is fed once more to another one."""

    def __init__(
        self,
        place: Place[Recognizer],
        recognition: Recognition,
        asked: Asked,
        reopen: Callable[[Asked], Awaitable[tuple[Place[Recognizer], Recognition]]],
        places: Places[Recognizer],
    ) -> None:
        self._place = place
        self._recognition = recognition
        self._asked = asked
        self._reopen = reopen
        self._places = places
        self._audio = bytearray()
        self._moved = False
        self._ended = False
        self._moving = asyncio.Lock()

    def feed(self, frame: Pcm16) -> None:
        """To the worker, and kept while a replay is possible."""
        self._recognition.feed(frame)
        if not self._moved and len(self._audio) <= REPLAY_BYTES:
            self._audio += frame

    async def hypotheses(self) -> AsyncIterator[str]:
        """The worker's; after its loss, those of the other one. Raises WorkerError."""
        while True:
            recognition = self._recognition
            texts = recognition.hypotheses()
            try:
                async for text in texts:
                    yield text
                return
            except WorkerUnavailable as error:
                if self._ended:
                    return
                await self._move(recognition, error)
            finally:
                await close(texts)

    async def finish(self) -> Transcript:
        """The transcript. Raises WorkerError."""
        try:
            while True:
                recognition = self._recognition
                try:
                    return await recognition.finish()
                except WorkerUnavailable as error:
                    await self._move(recognition, error)
        finally:
            self._end()

    async def abort(self) -> None:
        """Forgets the utterance."""
        self._end()
        await self._recognition.abort()

    async def _move(self, lost: Recognition, error: WorkerUnavailable) -> None:
        """Another worker hears the utterance from its start. Raises `error` where that cannot be."""
        async with self._moving:
            if self._recognition is not lost:
                return  # `hypotheses` and `finish` both noticed
            self._places.failed(self._place)
            log.warning("an utterance lost %s: %s", self._place.url, error.message)
            if self._moved or self._ended or len(self._audio) > REPLAY_BYTES:
                raise error
            try:
                place, recognition = await self._reopen(self._asked)
            except ParleyError as refusal:
                raise error from refusal
            if self._ended:  # aborted meanwhile
                place.open -= 1
                await recognition.abort()
                raise error
            recognition.feed(bytes(self._audio))  # no await from here on: no frame is missed or fed twice
            self._moved = True
            self._audio.clear()
            self._place.open -= 1
            self._place, self._recognition = place, recognition
        await lost.abort()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._place.open -= 1
            self._audio.clear()
