"""Whose turn it is, over a real server: back-channels over a reply, semantic_vad, speculation."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.end_of_turn import EAGERNESS
from app.errors import WorkerError
from app.gateway import GatewayOptions, create_app
from app.packs import TurnSettings
from app.speaking import Workers
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import Caller, calling
from tests.serving import serving
from tests.sounds import flite

QUESTION = "tell me a story"
STORY = ["Once upon a time there was a fox. ", HOLD]
PACK = dataclasses.replace(SCRIPTED, turn=TurnSettings(back_channels=("yeah", "I see")))


@asynccontextmanager
async def call(heard: list[str | Exception], replies: list[Any], query: str = "") -> AsyncIterator[tuple[Caller, Any]]:
    """A caller of a voice so slow that its replies are heard for a minute."""
    language = ScriptedLanguage(replies)
    workers = Workers(ScriptedRecognizer(heard), language, ScriptedSynthesizer(samples_per_character=48_000))
    app = create_app(PACK, workers, options=GatewayOptions(audio_ahead_seconds=1000.0))
    async with serving(app) as url, calling(url, query) as caller:
        yield caller, language


def detection(**fields: Any) -> dict[str, Any]:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", **fields}}}}


async def ask(caller: Caller) -> None:
    """A question, until its reply is heard."""
    await caller.say(flite(QUESTION), then_silence=1.0)
    await caller.until("response.output_audio.delta")


async def test_a_back_channel_leaves_the_reply_as_it_is_and_says_nothing() -> None:
    async with call([QUESTION, "yeah", "stop it", "stop it"], [STORY, "Fine."]) as (caller, language):
        await ask(caller)
        await caller.say(flite("yeah"), then_silence=1.0)
        await caller.say(flite("stop it now please"), then_silence=1.0)
        cancelled = await caller.until("response.done")
        await caller.until("response.done")
    assert len(caller.all("input_audio_buffer.speech_started")) == 2  # the question's and the interruption's
    assert len(caller.all("input_audio_buffer.committed")) == 2
    assert cancelled["response"]["status_details"]["reason"] == "turn_detected"
    said = [message["content"] for message in language.requests[1].messages if message["role"] == "user"]
    assert said == [QUESTION, "stop it"]
    assert not [event for event in caller.log if event["type"].startswith("parley.")]


async def test_a_short_command_takes_the_floor_with_all_its_audio() -> None:
    async with call([QUESTION, "stop", "stop"], [STORY, "Fine."]) as (caller, language):
        await ask(caller)
        await caller.say(flite("stop"), then_silence=1.0)
        cancelled = await caller.until("response.done")
        done = await caller.until("response.done")
    assert cancelled["response"]["status"] == "cancelled"
    assert done["response"]["status"] == "completed"
    assert language.requests[1].messages[-1] == {"role": "user", "content": "stop"}
    asked, stopped = caller.all("input_audio_buffer.speech_started")
    assert stopped["audio_start_ms"] > asked["audio_start_ms"]
    (asked_end, stopped_end) = caller.all("input_audio_buffer.speech_stopped")
    assert stopped_end["item_id"] == stopped["item_id"]
    assert stopped_end["audio_end_ms"] > asked_end["audio_end_ms"]


async def test_a_failed_recognizer_does_not_end_the_reply() -> None:
    async with call([QUESTION, WorkerError("out of order"), "stop", "stop"], [STORY, "Fine."]) as (caller, _):
        await ask(caller)
        await caller.say(flite("yeah"), then_silence=1.0)
        await caller.say(flite("stop"), then_silence=1.0)
        await caller.until("response.done")
    assert len(caller.all("input_audio_buffer.speech_started")) == 2
    assert not caller.all("error")


async def test_a_session_can_have_every_sound_end_a_reply() -> None:
    async with call([QUESTION, "yeah"], [STORY, "Fine."]) as (caller, _):
        await caller.send("session.update", session=detection(back_channels=False))
        await ask(caller)
        await caller.say(flite("yeah"), then_silence=1.0)
        cancelled = await caller.until("response.done")
    assert cancelled["response"]["status"] == "cancelled"


async def test_who_asks_for_it_is_told_what_is_thought_and_decided() -> None:
    async with call([QUESTION, "yeah", "stop", "stop"], [STORY, "Fine."]) as (caller, _):
        await caller.send("session.update", session=detection(back_channels=True))
        updated = await caller.until("session.updated")
        await ask(caller)
        await caller.say(flite("yeah"), then_silence=1.0)
        suspected = await caller.until("parley.speech.suspected")
        dismissed = await caller.until("parley.speech.dismissed")
        await caller.say(flite("stop"), then_silence=1.0)
        await caller.until("parley.speech.suspected")
        await caller.until("input_audio_buffer.speech_started")
    assert updated["session"]["audio"]["input"]["turn_detection"]["back_channels"] is True
    assert suspected["audio_start_ms"] == dismissed["audio_start_ms"]


async def test_stock_clients_never_see_the_extension() -> None:
    async with call([], []) as (caller, _):
        await caller.send("session.update", session=detection())
        updated = await caller.until("session.updated")
        await caller.send("session.update", session={"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}})
        semantic = await caller.until("session.updated")
    for event in (caller.log[0], updated, semantic):
        assert "back_channels" not in event["session"]["audio"]["input"]["turn_detection"]


async def test_what_is_cleared_over_a_reply_is_forgotten_and_the_reply_goes_on() -> None:
    async with call([QUESTION, "yeah", "stop", "stop"], [STORY, "Fine."]) as (caller, _):
        await ask(caller)
        await caller.say(flite("yeah"))
        await caller.send("input_audio_buffer.clear")
        await caller.until("input_audio_buffer.cleared")
        await caller.say(flite("stop"), then_silence=1.0)
        cancelled = await caller.until("response.done")
    assert len(caller.all("input_audio_buffer.speech_started")) == 2
    assert cancelled["response"]["status"] == "cancelled"


@pytest.mark.parametrize("eagerness", EAGERNESS)
async def test_semantic_vad_waits_within_the_bounds_of_its_eagerness(eagerness: str) -> None:
    turn_detection = {"type": "semantic_vad", "eagerness": eagerness}
    async with call([QUESTION], ["Fine."], "?parley_timings=true") as (caller, _):
        await caller.send("session.update", session={"audio": {"input": {"turn_detection": turn_detection}}})
        await caller.say(flite(QUESTION), then_silence=3.5)
        timings = await caller.until("parley.turn.timings")
    bounds = EAGERNESS[eagerness]
    assert 1000 * bounds.shortest_seconds <= timings["endpoint_wait_ms"] <= 1000 * (bounds.longest_seconds + 0.064)
    assert timings["endpoint_wait_ms"] != pytest.approx(500, abs=1)  # which is server_vad's
