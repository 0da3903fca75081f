"""A client whose socket does not drain: its session ends with a clear error, and nobody else notices."""

from __future__ import annotations

import asyncio
import logging
import socket
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from app.gateway import GatewayOptions, create_app
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.app.test_metrics import scraped
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving

STORY = "And then they went on. " * 120  # 8 MiB of audio in base64: more than the kernel's buffers take


async def drain(client: ClientConnection) -> None:
    """Takes whatever comes, until the connection is closed."""
    async with asyncio.timeout(60):
        while True:
            await client.recv()


async def test_a_session_that_takes_nothing_ends_and_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "parley.gateway")
    workers = Workers(ScriptedRecognizer([]), ScriptedLanguage([STORY, "Yes."]), ScriptedSynthesizer())
    options = GatewayOptions(audio_ahead_seconds=10_000.0, patience_seconds=0.5)
    async with serving(create_app(SCRIPTED, workers, options=options)) as url, calling(url) as other:
        small = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        address = f"ws{url.removeprefix('http')}/v1/realtime"
        async with connect(address, sock=small, max_queue=1, compression=None, close_timeout=0.1) as slow:
            await slow.send('{"type": "response.create"}')
            async with asyncio.timeout(60):
                while "slow_client" not in str(await scraped(url)):
                    await asyncio.sleep(0.05)
            await other.send("response.create")
            assert (await other.until("response.done"))["response"]["status"] == "completed"
            async with asyncio.timeout(60):
                while (after := await scraped(url))["parley_sessions"] > 1:
                    await asyncio.sleep(0.05)
            with pytest.raises(ConnectionClosed):
                await drain(slow)
    assert after["parley_refusals_total{code=slow_client}"] == 1
    assert any("the client took nothing for 0.5 s" in line for line in caplog.messages)
    assert isinstance(workers.synthesizer, ScriptedSynthesizer)
    assert workers.synthesizer.cancelled == 1  # the story was not made to its end


async def test_a_client_that_answers_no_ping_is_let_go_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers(ScriptedRecognizer([]), ScriptedLanguage([STORY]), ScriptedSynthesizer())
    options = GatewayOptions(audio_ahead_seconds=0.1)  # the reply goes on after the server has given the client up
    async with serving(create_app(SCRIPTED, workers, options=options), ping_seconds=0.2) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        client = ClientProtocol(parse_uri(f"ws{url.removeprefix('http')}/v1/realtime"))
        client.send_request(client.connect())
        writer.write(b"".join(client.data_to_send()))
        writer.write(Frame(Opcode.TEXT, b'{"type": "response.create"}').serialize(mask=True))
        async with asyncio.timeout(60):
            while await reader.read(65536):
                pass  # reads all that comes, and says nothing
            while (await scraped(url))["parley_sessions"]:
                await asyncio.sleep(0.05)
        writer.close()
    assert [record for record in caplog.records if record.exc_info] == []
