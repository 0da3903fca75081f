"""Replies begun early: given to whoever asks for exactly the same, and to nobody else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from app.errors import WorkerBusy
from app.gateway import GatewayOptions, create_app
from app.packs import TurnSettings
from app.speaking import Workers
from app.speculation import Speculation
from app.workers.base import ChatRequest, Health, ReplyPart, TextDelta, Usage
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving
from tests.sounds import flite, silence

PATIENT = {"type": "server_vad", "silence_duration_ms": 1500}
ONE, OTHER = ChatRequest([{"role": "user", "content": "one"}]), ChatRequest([{"role": "user", "content": "other"}])


async def text_of(language: Speculation, request: ChatRequest) -> str:
    return "".join([part.text async for part in language.reply(request) if isinstance(part, TextDelta)])


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0)


async def test_what_was_begun_is_given_to_whoever_asks_for_the_same() -> None:
    scripted = ScriptedLanguage(["Begun early."])
    language = Speculation(scripted)
    await language.begin(ONE)
    await until(lambda: scripted.requests)
    assert await text_of(language, dataclasses.replace(ONE)) == "Begun early."
    assert len(scripted.requests) == 1


async def test_whoever_asks_for_something_else_never_sees_it() -> None:
    scripted = ScriptedLanguage([["Begun early.", HOLD], "Asked."])
    language = Speculation(scripted)
    await language.begin(ONE)
    await until(lambda: scripted.requests)
    assert await text_of(language, OTHER) == "Asked."
    assert scripted.cancelled == 1
    assert await language.health() == await scripted.health()


async def test_a_second_beginning_and_the_end_of_the_session_drop_the_first() -> None:
    scripted = ScriptedLanguage([["One.", HOLD], ["Two.", HOLD]])
    language = Speculation(scripted)
    for request in (ONE, OTHER):
        await language.begin(request)
        await until(lambda: scripted.requests and scripted.requests[-1] == request)  # noqa: B023
    assert scripted.cancelled == 1
    await language.drop()
    assert scripted.cancelled == 2


async def test_one_that_was_dropped_at_once_leaves_nothing() -> None:
    scripted = ScriptedLanguage(["Asked."])
    language = Speculation(scripted)
    await language.begin(ONE)
    await language.drop()
    assert await text_of(language, OTHER) == "Asked."


async def test_a_beginning_that_failed_is_asked_for_again() -> None:
    scripted = ScriptedLanguage([WorkerBusy("full"), "Asked."])
    language = Speculation(scripted)
    await language.begin(ONE)
    await until(lambda: scripted.requests)
    for _ in range(20):
        await asyncio.sleep(0)
    assert await text_of(language, ONE) == "Asked."


async def test_a_reader_who_leaves_ends_the_writing() -> None:
    scripted = ScriptedLanguage([["Begun early.", HOLD]])
    language = Speculation(scripted)
    await language.begin(ONE)
    reply = language.reply(ONE)
    await anext(reply)
    await reply.aclose()
    assert scripted.cancelled == 1


def used_so_far() -> float:
    return REGISTRY.get_sample_value("parley_speculations_total", {"outcome": "used"}) or 0.0


class Echo:
    """Writes what the caller said last; notes each request, and each that was read to its end."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.written: list[str] = []

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        said = str(request.messages[-1]["content"])
        self.asked.append(said)
        for word in ("You ", "said ", said, "."):
            await asyncio.sleep(0)
            yield TextDelta(word)
        self.written.append(said)
        yield Usage()

    async def health(self) -> Health:
        return Health("language", "echo", "")


@pytest.mark.parametrize("pause", [0.0, 0.5])
async def test_a_caller_who_goes_on_hears_only_the_answer_to_all_of_it(pause: float) -> None:
    pack = dataclasses.replace(SCRIPTED, turn=TurnSettings(speculation=True))
    echo = Echo()
    workers = Workers(ScriptedRecognizer(["tell me a story"]), echo, ScriptedSynthesizer(samples_per_character=60))
    app = create_app(pack, workers, options=GatewayOptions(audio_ahead_seconds=1000.0))
    used = used_so_far()
    async with serving(app) as url, calling(url) as caller:
        await caller.send("session.update", session={"audio": {"input": {"turn_detection": PATIENT}}})
        await caller.say(flite("tell me") + silence(pause) + flite("a story"), then_silence=2.5)
        done = await caller.until("response.done")
        await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": []})
        await caller.send("response.create")
        await caller.until("response.done")
    first = [event for event in caller.log if event.get("response_id") == done["response"]["id"]]
    spoken = "".join(event["delta"] for event in first if event["type"] == "response.output_audio_transcript.delta")
    assert spoken == "You said tell me a story."
    assert len(caller.all("response.created")) == 2
    assert echo.asked[-1].startswith("You said tell me a story.")  # the history has nothing else
    assert used_so_far() == used + 1
    assert all("tell me a story".startswith(said) for said in echo.asked[:-1])  # whatever was begun, of what was said
