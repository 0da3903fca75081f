"""A service that is full says so at the handshake, in a way that whoever asks can read."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.access import Access
from app.gateway import GatewayOptions, create_app
from app.speaking import Workers
from app.workers.connect import reach_recognizer
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from app.workers.server import recognizer_app
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving
from tests.sounds import silence

BY_HAND = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}}


async def test_one_caller_too_many_is_refused_and_may_come_back() -> None:
    workers = Workers(ScriptedRecognizer([]), ScriptedLanguage([]), ScriptedSynthesizer())
    async with serving(create_app(SCRIPTED, workers, options=GatewayOptions(max_sessions=2))) as url:
        address = "ws" + url.removeprefix("http") + "/v1/realtime"
        async with calling(url):
            async with calling(url):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(address, proxy=None)
                # A page sees neither status nor body of a refused handshake, so it is told in the socket.
                async with connect(address, proxy=None, origin=url) as page:  # type: ignore[arg-type]
                    told = orjson.loads(await page.recv())
                    with pytest.raises(ConnectionClosed) as closed:
                        await page.recv()
            async with calling(url) as again:
                assert again.log[0]["type"] == "session.created"
    response = refused.value.response
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert orjson.loads(response.body or b"")["error"]["code"] == "service_full"
    assert (told["type"], told["error"]["code"]) == ("error", "service_full")
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        1013,
        "All 2 sessions are taken; try again in a moment",
    )


async def test_full_recognizers_fail_one_utterance_by_type_and_no_session() -> None:
    scripted = [ScriptedRecognizer(["hello"], repeat=True, slots=1) for _ in range(2)]
    async with AsyncExitStack() as stack:
        apps = [recognizer_app(recognizer, access=Access(), model="scripted") for recognizer in scripted]
        urls = [await stack.enter_async_context(serving(app)) for app in apps]
        workers = Workers(reach_recognizer(",".join(urls)), ScriptedLanguage([]), ScriptedSynthesizer())
        url = await stack.enter_async_context(serving(create_app(SCRIPTED, workers)))
        callers = [await stack.enter_async_context(calling(url)) for _ in range(3)]
        for caller in callers:
            await caller.send("session.update", session=BY_HAND)
            await caller.until("session.updated")
        first, second, third = callers
        for caller in (first, second):
            await caller.say(silence(0.5))
        async with asyncio.timeout(20):
            while [recognizer.open for recognizer in scripted] != [1, 1]:
                await asyncio.sleep(0.01)
        await third.say(silence(0.5))
        await third.send("input_audio_buffer.commit")
        failed = await third.until("conversation.item.input_audio_transcription.failed")
        await first.send("input_audio_buffer.commit")
        await first.until("conversation.item.input_audio_transcription.completed")
        await third.say(silence(0.5))
        await third.send("input_audio_buffer.commit")
        heard = await third.until("conversation.item.input_audio_transcription.completed")
    assert failed["error"]["code"] == "worker_busy"
    assert "none of 2 workers has room" in failed["error"]["message"]
    assert heard["transcript"] == "hello"
