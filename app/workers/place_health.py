"""What the workers behind several URLs say of themselves, all and one by one. Knows no stage."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from app.errors import WorkerError, WorkerUnavailable
from app.workers.base import Health, LanguageModel, Recognizer, Synthesizer
from app.workers.places import Place, Places, nobody

HEALTH_SECONDS = 2.5  # for one URL: less than the gateway's patience for the whole stage

S = TypeVar("S", bound=Recognizer | LanguageModel | Synthesizer)


async def health_of(places: Places[S]) -> Health:
    """The first healthy one's, with the state of every URL. Raises WorkerUnavailable."""
    states = await asyncio.gather(*(state_of(places, place, HEALTH_SECONDS) for place in places.all))
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


async def state_of(places: Places[S], place: Place[S], seconds: float | None = None) -> Health | WorkerError:
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
