"""A stage behind several URLs: satisfies the Protocols over workers that do. Knows no transport and no engine.

Work goes to the URL with the least of it; a dead or full one is gone round. Only what is safe is asked again elsewhere:
a reply or clause of which nothing has been given out, and an utterance, whose frames are kept for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar, Unpack

from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, Pcm16
from app.errors import ParleyError, WorkerBusy, WorkerError, WorkerUnavailable, WrongBase
from app.reply import close
from app.workers.base import (
    Asked,
    ChatRequest,
    Health,
    LanguageModel,
    Recognition,
    Recognizer,
    ReplyPart,
    SpeechChunk,
    Synthesizer,
    Transcript,
)
from app.workers.places import Place, Places, nobody

log = logging.getLogger("parley.spread")

REPLAY_SECONDS = 90.0  # of an utterance: what a session lets one grow to, 2.9 MB
REPLAY_BYTES = int(REPLAY_SECONDS * HEARING_RATE) * BYTES_PER_SAMPLE
HEALTH_SECONDS = 2.5  # for one URL: less than the gateway's patience for the whole stage

Stage: TypeAlias = Recognizer | LanguageModel | Synthesizer
S = TypeVar("S", bound=Stage)
T = TypeVar("T")


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
        return await _health(self._places)

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


class SpreadLanguage:
    """Chat servers by URL, as one."""

    def __init__(self, workers: Mapping[str, LanguageModel], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = Places(workers, clock=clock)

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """The reply of one that serves the pack's base and has room. Raises WrongBase, WorkerError, BadRequest."""
        serving = await self._serving(request.base_sha256) if request.base_sha256 else self._places.all
        parts = _stream(self._places, lambda worker: worker.reply(request), serving)
        async with contextlib.aclosing(parts):
            async for part in parts:
                yield part

    async def health(self) -> Health:
        """The first healthy one's, with the state of every URL. Raises WorkerUnavailable."""
        return await _health(self._places)

    async def _serving(self, base: str) -> list[Place[LanguageModel]]:
        """The places with this base; one that does not say is taken at the word of whoever set its URL."""
        unknown = [place for place in self._places.all if place.base_sha256 is None and not self._places.rests(place)]
        refusals = await self._ask(unknown)
        fitting = [place for place in self._places.all if place.base_sha256 in (base, "")]
        if not fitting:  # one may have been started anew, with another base
            refusals = await self._ask(self._places.all)
            fitting = [place for place in self._places.all if place.base_sha256 in (base, "")]
        if not fitting and len(refusals) == len(self._places.all):
            raise nobody(refusals)
        if not fitting:
            bases = {place.url: place.base_sha256 or "an unknown one" for place in self._places.all}
            theirs = "; ".join(f"{url} serves {other}" for url, other in bases.items())
            raise WrongBase(f"the pack needs language base {base}, but {theirs}")
        return fitting

    async def _ask(self, places: Sequence[Place[LanguageModel]]) -> dict[str, WorkerError]:
        """Asks them for their base; gives the errors of those that fail."""
        states = await asyncio.gather(*(_state(self._places, place) for place in places))
        refusals = {}
        for place, state in zip(places, states, strict=True):
            if not isinstance(state, Health):
                self._places.failed(place)
                refusals[place.url] = state
        return refusals


class SpreadSynthesizer:
    """Synthesizers by URL, as one."""

    def __init__(self, workers: Mapping[str, Synthesizer], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = Places(workers, clock=clock)

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """Speech of one that has room. Raises WorkerError, UnknownModel."""
        chunks = _stream(self._places, lambda worker: worker.speak(text, voice=voice, speed=speed, model=model))
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def health(self) -> Health:
        """The first healthy one's, with the state of every URL. Raises WorkerUnavailable."""
        return await _health(self._places)


async def _stream(
    places: Places[S], open: Callable[[S], AsyncIterator[T]], among: Sequence[Place[S]] | None = None
) -> AsyncGenerator[T, None]:
    """What the first place that takes the work gives; after its first item, no other place is asked."""
    refusals: dict[str, WorkerError] = {}
    while (place := places.next(refusals, among)) is not None:
        items = open(place.worker)
        begun = False
        place.open += 1
        try:
            async for item in items:
                if not begun:
                    places.answered(place)
                begun = True
                yield item
            return
        except WorkerUnavailable as error:
            places.failed(place)
            if begun:
                raise
            refusals[place.url] = error
            log.warning("going round %s: %s", place.url, error.message)
        except WorkerBusy as error:
            if begun:
                raise
            refusals[place.url] = error
        finally:
            place.open -= 1
            await close(items)
    raise nobody(refusals)


async def _health(places: Places[S]) -> Health:
    states = await asyncio.gather(*(_state(places, place, HEALTH_SECONDS) for place in places.all))
    well = next((state for state in states if isinstance(state, Health)), None)
    if well is None:
        refusals = zip(places.all, states, strict=True)
        raise nobody({place.url: state for place, state in refusals if not isinstance(state, Health)})
    urls = {
        place.url: {"state": "ok", "open": place.open, **state.detail}
        if isinstance(state, Health)
        else {"state": "down", "open": place.open, "error": state.message}
        for place, state in zip(places.all, states, strict=True)
    }
    return Health(well.stage, well.engine, well.model, {**well.detail, "urls": urls})


async def _state(places: Places[S], place: Place[S], seconds: float | None = None) -> Health | WorkerError:
    """What the worker says of itself within `seconds`; one that is well again rests no longer."""
    try:
        async with asyncio.timeout(seconds):
            health: Health = await place.worker.health()
    except TimeoutError:
        return WorkerUnavailable(f"{place.url} did not answer within {seconds} s")
    except WorkerError as error:
        return error
    places.answered(place)
    place.base_sha256 = str(health.detail.get("base_sha256", ""))
    return health
