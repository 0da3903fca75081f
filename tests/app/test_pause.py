"""While it is unsure who has the floor, nothing of a reply's audio is sent; afterwards all of it is."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from app import speaking
from app.gateway import GatewayOptions, create_app
from app.packs import TurnSettings
from app.speaking import Workers
from app.workers.base import ChatRequest, Health, ReplyPart, TextDelta, Usage
from app.workers.scripted import ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving
from tests.sounds import flite, silence

WORDS = "response.output_audio_transcript.delta"
PACK = dataclasses.replace(SCRIPTED, turn=TurnSettings(back_channels=("yeah",)))
REPORTED = {"audio": {"input": {"turn_detection": {"type": "server_vad", "back_channels": True}}}}


class Halting:
    """Says one sentence, and the second when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        yield TextDelta("Once upon a time there was a fox. ")
        await self.go_on.wait()
        yield TextDelta("It was red. ")
        yield Usage()

    async def health(self) -> Health:
        return Health("language", "halting", "")


async def test_sending_pauses_while_it_is_unsure_and_then_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "PAUSE_SECONDS", 1000.0)  # whatever else this machine does
    language, synthesizer = Halting(), ScriptedSynthesizer(samples_per_character=48_000)
    workers = Workers(ScriptedRecognizer(["tell me a story", "yeah"]), language, synthesizer)
    app = create_app(PACK, workers, options=GatewayOptions(audio_ahead_seconds=1000.0))
    async with serving(app) as url, calling(url) as caller:
        await caller.send("session.update", session=REPORTED)
        await caller.say(flite("tell me a story"), then_silence=1.0)
        while not caller.text(WORDS).endswith("fox. "):
            await caller.next()
        await caller.say(flite("yeah"))
        await caller.until("parley.speech.suspected")
        language.go_on.set()
        async with asyncio.timeout(20):
            while len(synthesizer.spoken) < 2:
                await asyncio.sleep(0)
        noticed = len(caller.log)
        await caller.say(silence(1.0))
        await caller.until("parley.speech.dismissed")
        dismissed = len(caller.log)
        await caller.until("response.done")
    assert not [event for event in caller.log[noticed:dismissed] if "delta" in event]
    assert "".join(event["delta"] for event in caller.log[dismissed:] if event["type"] == WORDS) == "It was red. "
