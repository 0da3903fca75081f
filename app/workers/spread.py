"""Chat servers and synthesizers behind several URLs, as one each. Knows no transport and no engine.

Work goes to the URL with the least of it; a dead or full one is gone round. Only what is safe is asked again elsewhere:
a reply or clause of which nothing has been given out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from app.errors import WorkerBusy, WorkerError, WorkerUnavailable, WrongBase
from app.reply import close
from app.workers.base import ChatRequest, Health, LanguageModel, ReplyPart, SpeechChunk, Synthesizer
from app.workers.place_health import health_of, state_of
from app.workers.places import Place, Places, nobody

log = logging.getLogger("parley.spread")

S = TypeVar("S", bound=LanguageModel | Synthesizer)
T = TypeVar("T")


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
        return await health_of(self._places)

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
        states = await asyncio.gather(*(state_of(self._places, place) for place in places))
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
        return await health_of(self._places)


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
