"""Rows about connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import zlib
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from app.access import Access
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedSynthesizer
from tests.app.test_metrics import scraped
from tests.realtime import calling
from tests.soak.service import STORY, WAIT_SECONDS, resident_mb, soaked, turn, until

IDLE = 1000


def address_of(url: str) -> str:
    return f"ws{url.removeprefix('http')}/v1/realtime"


async def closed_with(ws: ClientConnection) -> int:
    """The close code, after whatever else comes."""
    async with asyncio.timeout(WAIT_SECONDS):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await ws.recv()
    return ws.close_code or 0


async def seats_taken(url: str) -> float:
    return float((await scraped(url))["parley_sessions"])


async def all_gone(url: str) -> None:
    """Until no session is left."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await seats_taken(url):
            await asyncio.sleep(0.05)


async def slow_reader() -> str:
    """slow reader: a client stops reading during an answer (patience scaled to 2 s)"""
    async with soaked([STORY, "Yes."], patience_seconds=2.0) as (url, workers), calling(url) as other:
        small = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0))
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with connect(address_of(url), sock=small, max_queue=1, compression=None, close_timeout=0.1) as slow:
            await slow.send('{"type": "response.create"}')
            language = workers.language
            assert isinstance(language, ScriptedLanguage)
            await until(lambda: language.requests)
            await turn(other)
            async with asyncio.timeout(WAIT_SECONDS):
                while await seats_taken(url) > 1:
                    await asyncio.sleep(0.05)
        await other.send("input_audio_buffer.clear")
        await other.until("input_audio_buffer.cleared")
        assert isinstance(workers.synthesizer, ScriptedSynthesizer)
        assert workers.synthesizer.cancelled == 1
    return "dropped, its speech was not made to its end, the other caller's turns worked"


async def half_open() -> str:
    """half-open socket: the peer vanishes during an answer (pings scaled from 20 s to 0.5 s)"""
    async with soaked([["Well, ", HOLD]], ping_seconds=0.5) as (url, workers):
        _, writer, _ = await _open(url)
        writer.write(Frame(Opcode.TEXT, b'{"type": "response.create"}').serialize(mask=True))
        started = time.monotonic()
        language = workers.language
        assert isinstance(language, ScriptedLanguage)
        await until(lambda: language.cancelled == 1)
        await all_gone(url)
        gone = time.monotonic() - started
        writer.close()
    return f"gone after {gone:.1f} s, the reply was cancelled, the seat is free"


async def closes_in_mid_response() -> str:
    """the client closes in mid-response, 50 times"""
    async with soaked([["Well, ", HOLD]] * 50) as (url, workers):
        for _ in range(50):
            async with calling(url) as caller:
                await caller.send("response.create")
                await caller.until("response.created")
        language = workers.language
        assert isinstance(language, ScriptedLanguage)
        await until(lambda: language.cancelled == len(language.requests))
        await all_gone(url)
        tasks = {task for task in asyncio.all_tasks() if "_respond" in str(task.get_coro())}
        assert not tasks
    return f"{language.cancelled} replies cancelled, every seat free, no task left"


async def idle_sockets() -> str:
    """1,000 idle sockets, a live turn among them, and one caller too many"""
    async with soaked(max_sessions=IDLE + 1) as (url, _), contextlib.AsyncExitStack() as held:
        before, refused = resident_mb(), 0
        for _ in range(IDLE):
            refused += await _hold(held, address_of(url))
        each_kb = (resident_mb() - before) * 1000 / IDLE
        live = await held.enter_async_context(calling(url))
        await turn(live)
        full = await refusal(address_of(url))
        assert (full.status_code, "retry-after" in full.headers) == (503, True)
        assert each_kb < 500
    return f"{each_kb:.0f} kB each for both ends, {refused} refused in words on the way, the live turn worked, then 503"


async def _hold(held: contextlib.AsyncExitStack, address: str) -> int:
    """One more idle caller; how often it was refused, in words, while the handshakes of the others filled the core."""
    for refused in range(1000):
        with contextlib.suppress(websockets.InvalidStatus):
            await held.enter_async_context(connect(address, compression=None, proxy=None, ping_interval=None))
            return refused
        await asyncio.sleep(0.05)
    raise AssertionError("the gateway lets nobody in any more")


async def refusal(address: str, **headers: str) -> Response:
    """The answer to a handshake that must be refused."""
    try:
        await connect(address, additional_headers=headers, proxy=None)
    except websockets.InvalidStatus as error:
        return error.response
    raise AssertionError(f"{address} was let in")


async def odd_frames() -> str:
    """binary frames, broken UTF-8, fragmented frames, compressed frames, 40 MiB in one frame"""
    async with soaked() as (url, _), calling(url) as other:
        async with connect(address_of(url), compression=None, proxy=None) as ws:
            await ws.send(b"\x00" * 1000)
            await ws.send(iter(['{"type": "input_audio', "_buffer.", 'clear"}']))
            answers = [await ws.recv() for _ in range(3)]
        assert '"error"' in str(answers[1])
        assert "input_audio_buffer.cleared" in str(answers[2])
        codes = [
            await _raw(url, Frame(Opcode.TEXT, b"\xff\xfe{").serialize(mask=True)),
            await _raw(url, _compressed(zlib.compress(bytes(50_000_000)))),
            await _raw(url, Frame(Opcode.TEXT, b"A" * 40 * 1024 * 1024).serialize(mask=True)),
        ]
        assert codes == [1007, 1002, 1009], codes
        await turn(other)
        await all_but(url, 1)
    return f"an error, an answer, and closes with {codes}; the other caller's turn worked"


async def all_but(url: str, left: int) -> None:
    """Until only so many sessions are left."""
    async with asyncio.timeout(WAIT_SECONDS):
        while await seats_taken(url) > left:
            await asyncio.sleep(0.05)


def _compressed(data: bytes) -> bytes:
    """A frame that says that it is compressed, though nothing of the kind was agreed on."""
    frame = bytearray(Frame(Opcode.TEXT, data).serialize(mask=True))
    frame[0] |= 0x40  # RSV1, RFC 7692
    return bytes(frame)


async def _open(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, ClientProtocol]:
    """A connection whose bytes are ours, after the handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    client = ClientProtocol(parse_uri(address_of(url)))
    client.send_request(client.connect())
    writer.write(b"".join(client.data_to_send()))
    client.receive_data(await reader.readuntil(b"\r\n\r\n"))
    return reader, writer, client


async def _raw(url: str, frame: bytes) -> int:
    """The code with which the service answers bytes that no client library would send."""
    reader, writer, client = await _open(url)
    writer.write(frame)
    async with asyncio.timeout(WAIT_SECONDS):
        while client.close_rcvd is None and (data := await reader.read(65_536)):
            client.receive_data(data)
    writer.close()
    return client.close_rcvd.code if client.close_rcvd is not None else 0


async def keys_in_wrong_places() -> str:
    """a key in the query string, an unknown key, an unknown ek_ secret"""
    async with soaked(access=Access(api_keys=frozenset({"sk-right"}))) as (url, _):
        for query, key in [("?api_key=sk-right", ""), ("", "sk-wrong"), ("", "ek_unknown")]:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            assert (await refusal(address_of(url) + query, **headers)).status_code == 401
        async with connect(address_of(url), additional_headers={"authorization": "Bearer sk-right"}, proxy=None) as ws:
            assert "session.created" in str(await ws.recv())
    return "401 each; the right key is let in"


ROWS = [slow_reader, half_open, closes_in_mid_response, idle_sockets, odd_frames, keys_in_wrong_places]
