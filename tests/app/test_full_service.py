"""A service that is full says so at the handshake, in a way that whoever asks can read."""

from __future__ import annotations

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.gateway import GatewayOptions, create_app
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving


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
