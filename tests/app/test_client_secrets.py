"""Client secrets and calls by key, over a real server: what they carry, what they open, and when they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from openai import AsyncOpenAI
from sqlalchemy import update

from app import keys
from app.access import Access
from app.accounts import Accounts
from app.gateway import create_app
from app.keys import ClientSecret, access_database
from app.limits import add_audio, audio_today
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import Caller
from tests.serving import serving
from tests.sounds import silence


class Service:
    """A gateway with keys in a database."""

    def __init__(self, url: str, place: str) -> None:
        self.url = url
        self.database = access_database(place)

    def key(self, name: str = "web", **limits: int) -> tuple[str, str]:
        """A new key's id and the key."""
        with self.database.session() as session:
            row, key = keys.create(session, name, ["caller"], **limits)
            return row.id, key

    def audio(self, name: str) -> float:
        """Seconds of audio that a key has used today."""
        with self.database.session() as session:
            return next(audio_today(session, row) for row in keys.keys_of(session) if row.id == name)

    def client(self, key: str = "unused") -> AsyncOpenAI:
        """The stock client."""
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    @contextlib.asynccontextmanager
    async def dial(self, key: str = "", query: str = "", **options: Any) -> AsyncIterator[Caller]:
        """A call as browsers make it, with the key among the subprotocols."""
        protocols = [websockets.Subprotocol(name) for name in ("realtime", f"openai-insecure-api-key.{key}")]
        address = "ws" + self.url.removeprefix("http") + "/v1/realtime" + query
        async with websockets.connect(address, subprotocols=protocols, proxy=None, **options) as socket:
            assert socket.subprotocol == "realtime"
            yield Caller(socket)

    async def refused(self, key: str, query: str = "") -> tuple[int, str, websockets.Headers]:
        """Status, code and headers of a refused handshake."""
        with pytest.raises(websockets.InvalidStatus) as failure:
            async with self.dial(key, query):
                pass
        response = failure.value.response
        return response.status_code, json.loads(response.body or b"")["error"]["code"], response.headers


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    place = str(tmp_path / "access.sqlite")
    accounts = Accounts(access_database(place), settle_seconds=0.01)
    workers = Workers(ScriptedRecognizer([]), ScriptedLanguage(["Yes."], repeat=True), ScriptedSynthesizer())
    async with serving(create_app(SCRIPTED, workers, access=Access(accounts=accounts))) as url:
        here = Service(url, place)
        yield here
        here.database.close()
    accounts.close()


async def test_a_secret_carries_its_session_into_calls_and_opens_nothing_else(service: Service) -> None:
    _, key = service.key()
    async with service.client(key) as client:
        made = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={
                "type": "realtime",
                "model": "scripted",
                "instructions": "Be a pirate.",
                "output_modalities": ["text"],
            },
        )
    assert made.value.startswith("ek_")
    assert 50 < made.expires_at - time.time() <= 60
    assert made.session.type == "realtime"
    assert (made.session.instructions, made.session.model) == ("Be a pirate.", "scripted")
    for _ in range(2):  # several sessions until it expires
        async with service.dial(made.value, "?model=gpt-realtime") as caller:
            session = (await caller.until("session.created"))["session"]
            assert (session["instructions"], session["output_modalities"]) == ("Be a pirate.", ["text"])
            assert session["model"] == "scripted"
    async with httpx.AsyncClient(
        base_url=f"{service.url}/v1", headers={"authorization": f"Bearer {made.value}"}
    ) as web:
        for answer in (await web.get("/models"), await web.post("/realtime/client_secrets")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_key")


async def test_a_transcription_secret_opens_a_transcription(service: Service) -> None:
    async with service.client() as client:  # a service without keys makes secrets, too
        made = await client.realtime.client_secrets.create(session={"type": "transcription"})
    assert made.session.type == "transcription"
    async with service.dial(made.value) as caller:
        assert (await caller.until("session.created"))["session"]["object"] == "realtime.transcription_session"


async def test_expired_foreign_and_revoked_secrets_are_refused(service: Service) -> None:
    name, key = service.key()
    async with service.client(key) as client:
        expired = (await client.realtime.client_secrets.create()).value
        with service.database.session() as session:
            session.execute(update(ClientSecret).values(expires_at=int(time.time()) - 1))
        revoked = (await client.realtime.client_secrets.create()).value
        with service.database.session() as session:
            keys.revoke(session, name)
        for secret in (expired, revoked, "ek_foreign"):
            status, code, headers = await service.refused(secret)
            assert (status, code, headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")


async def test_what_makes_no_session_makes_no_secret(service: Service) -> None:
    bodies: list[tuple[Any, str | None]] = [
        ({"session": {"voice": "x"}}, "session.voice"),
        ({"session": {"audio": {"output": {"voice": "no-such-voice"}}}}, None),
        ({"session": {"model": 5}}, "session.model"),
        ({"session": {"type": "video"}}, "session.type"),
        ({"session": {"model": "no-such-model"}}, None),
        ({"session": ["realtime"]}, "session"),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "last_active_at"}}, "expires_after.anchor"),
        ({"parley_caller": "x" * 129}, "parley_caller"),
        ({"parley_caller": "\0"}, "parley_caller"),
        ([], None),
    ]
    async with httpx.AsyncClient(base_url=service.url) as client:
        for body, param in bodies:
            answer = await client.post("/v1/realtime/client_secrets", json=body)
            assert answer.status_code in (400, 404)
            assert param is None or answer.json()["error"]["param"] == param


async def test_sessions_at_once(service: Service) -> None:
    _, key = service.key(sessions=1)
    async with service.client(key) as client:
        secret = (await client.realtime.client_secrets.create()).value
    async with service.dial(key):
        for one in (key, secret):  # a secret's calls are its maker's
            status, code, headers = await service.refused(one)
            assert (status, code) == (429, "rate_limit_exceeded")
            assert int(headers["retry-after"]) > 0
        async with service.dial(key, origin=service.url) as page:  # which sees no status, and is told in the socket
            assert (await page.next())["error"]["code"] == "rate_limit_exceeded"
            assert await closing(page) == (1013, "This key may have 1 sessions at once, and has them")
        async with service.dial(service.key()[1]):
            pass
    await until_free(service, key)


async def until_free(service: Service, key: str) -> None:
    """Dials until the seat of a call that has ended is free."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with service.dial(key):
                    return
            except websockets.InvalidStatus:
                await asyncio.sleep(0.01)


async def closing(caller: Caller) -> tuple[int, str]:
    """Code and reason of the close."""
    try:
        while True:
            await caller.next()
    except websockets.ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (1006, "")


async def test_a_call_ends_when_its_key_is_revoked(service: Service) -> None:
    name, key = service.key()
    async with service.dial(key) as caller:
        await caller.until("session.created")
        with service.database.session() as session:
            keys.revoke(session, name)
        assert await closing(caller) == (1008, "This API key has been revoked")
    assert caller.log[-1]["error"]["code"] == "invalid_api_key"
    assert caller.log[-1]["error"]["type"] == "invalid_request_error"


async def test_a_call_ends_with_its_minutes_and_no_other_begins(service: Service) -> None:
    name, key = service.key(audio_minutes_per_day=1)
    with service.database.session() as session:
        add_audio(session, name, 59.5)
    async with service.dial(key) as caller:
        await caller.until("session.created")
        await caller.say(silence(1.0))
        code, reason = await closing(caller)
    assert (code, reason) == (1008, "This key may use 1 minutes of audio a day, and has used them")
    assert caller.log[-1]["error"]["code"] == "insufficient_quota"
    assert (await service.refused(key))[:2] == (429, "insufficient_quota")
    async with service.client(key) as client:
        assert [model.id async for model in client.models.list()] == ["scripted"]


async def test_audio_of_requests_counts_too(service: Service) -> None:
    name, key = service.key()
    async with service.client(key) as client:
        speech = await client.audio.speech.create(
            model="scripted", voice="alloy", input="Hello there.", response_format="pcm"
        )
        seconds = len(speech.content) / 48_000
    async with asyncio.timeout(60):
        while not (counted := service.audio(name)):  # written down after the answer has left
            await asyncio.sleep(0.01)
    assert counted == pytest.approx(seconds, abs=0.01)


async def test_a_key_in_the_query_opens_nothing(service: Service) -> None:
    _, key = service.key()
    address = f"ws{service.url.removeprefix('http')}/v1/realtime?api_key={key}&key={key}"
    with pytest.raises(websockets.InvalidStatus) as failure:
        async with websockets.connect(address, proxy=None):
            pass
    assert failure.value.response.status_code == 401
