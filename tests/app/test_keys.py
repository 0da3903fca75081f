"""`parley keys` and the keys it makes, through a real server: they open, count, and end at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest
from fastapi import FastAPI

from app.__main__ import main
from app.access import Access
from app.accounts import Accounts
from app.errors import DatabaseUnavailable, NotFound
from app.keys import access_database, revoke
from app.rest import api_router, install

Serve = Callable[[FastAPI], Awaitable[str]]


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Where the keys are."""
    return str(tmp_path / "runs" / "access.sqlite")


@pytest.fixture
def parley(place: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`parley keys` with arguments; gives what it prints."""

    def run(*arguments: str) -> str:
        assert main(["keys", "--key-database", place, *arguments]) == 0
        return capsys.readouterr().out.strip()

    return run


@pytest.fixture
def service(place: str) -> Iterator[FastAPI]:
    """An application with a caller's and an operator's route."""
    accounts = Accounts(access_database(place))
    app = FastAPI()
    router = api_router()
    install(app, Access(frozenset({"sk-settings"}), accounts=accounts))

    @router.get("/models")
    @router.get("/packs")
    @router.post("/audio/speech")
    async def answer() -> str:
        return "yes"

    app.include_router(router)
    yield app
    accounts.close()


def kept(place: str) -> dict[str, bytes]:
    """What lies on disk, for nobody else to read."""
    paths = list(Path(place).parent.glob("*"))
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)
    return {path.name: path.read_bytes() for path in paths}


async def status(client: httpx.AsyncClient, key: str = "", path: str = "/v1/models") -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return (await client.get(path, headers=headers)).status_code


async def test_keys_open_their_scope_and_end_at_once(
    serve: Serve, service: FastAPI, parley: Callable[..., str], place: str
) -> None:
    async with httpx.AsyncClient(base_url=await serve(service)) as client:
        assert await status(client, "sk-settings") == 200
        assert not kept(place)  # nobody has made a key, and asking for one makes no database
        assert parley("list") == "no keys; `parley keys create NAME` makes one"
        caller, operator = parley("create", "web"), parley("create", "ops", "--scope", "operator")
        both = parley("create", "both", "--scope", "operator", "--scope", "caller")
        assert caller.startswith("sk-parley-")
        keys = ("", "sk-wrong", "sk-settings", caller, operator, both)
        assert [await status(client, key) for key in keys] == [401, 401, 200, 200, 403, 200]
        assert [await status(client, key, "/v1/packs") for key in keys] == [401, 401, 403, 403, 200, 200]
        web = parley("list").splitlines()[0].split()[0]
        assert parley("revoke", web) == f"{web} (web) is revoked"
        answer = await client.get("/v1/models", headers={"authorization": f"Bearer {caller}"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.json()["error"]["message"] == "This API key has been revoked"
    listed = parley("list")
    assert ["revoked" in line for line in listed.splitlines()] == [True, False, False]
    assert caller not in listed
    assert caller.encode() not in b"".join(kept(place).values())


async def test_a_service_is_closed_by_its_first_key_for_good(
    serve: Serve, place: str, parley: Callable[..., str]
) -> None:
    accounts = Accounts(access_database(place))
    app = FastAPI()
    install(app, Access(operator_keys=frozenset({"sk-operator"}), accounts=accounts))
    async with httpx.AsyncClient(base_url=await serve(app)) as client:
        assert [await status(client), await status(client, "unused")] == [404, 404]  # open, and there is no such route
        assert await status(client, "ek_of-another-service") == 401
        parley("create", "ops", "--scope", "operator")
        assert [await status(client), await status(client, path="/v1/packs")] == [404, 401]
        assert await status(client, "sk-operator") == 404
        parley("create", "web")
        assert [await status(client), await status(client, "sk-operator")] == [401, 403]
        assert await status(client, "sk-operator", "/v1/packs") == 404
        parley("revoke", parley("list").splitlines()[1].split()[0])
        assert await status(client) == 401
    accounts.close()


async def test_requests_a_minute(serve: Serve, service: FastAPI, parley: Callable[..., str]) -> None:
    key = parley("create", "web", "--requests-per-minute", "5")
    other = parley("create", "other")
    async with httpx.AsyncClient(base_url=await serve(service)) as client:
        while (answer := await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})).is_success:
            pass
        assert await status(client, other) == 200
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(answer.headers["retry-after"]) <= 60


async def test_minutes_of_audio_a_day(serve: Serve, service: FastAPI, parley: Callable[..., str], place: str) -> None:
    key = parley("create", "web", "--audio-minutes-per-day", "1")
    headers = {"authorization": f"Bearer {key}"}
    accounts = Accounts(access_database(place))
    async with httpx.AsyncClient(base_url=await serve(service), headers=headers) as client:
        assert (await client.post("/v1/audio/speech")).status_code == 200
        name = parley("list").split()[0]
        await accounts.add_audio(name, 59.0)
        assert (await client.post("/v1/audio/speech")).status_code == 200
        await accounts.add_audio(name, 1.5)
        answer = await client.post("/v1/audio/speech")
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
        assert answer.headers.get("x-should-retry", "false") == "false"
        assert (await client.get("/v1/models")).status_code == 200  # no audio in it
    assert "1.0 of 1 min of audio today" in parley("list")
    accounts.close()


async def test_a_database_that_cannot_be_used_refuses_its_keys_and_no_others(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "access.sqlite").write_text("this is no database, but something else of some length " * 50)
    accounts = Accounts(access_database(str(tmp_path / "access.sqlite")))
    app = FastAPI()
    install(app, Access(frozenset({"sk-settings"}), accounts=accounts))
    async with httpx.AsyncClient(base_url=await serve(app)) as client:
        assert await status(client, "sk-settings") == 404
        answer = await client.get("/v1/models", headers={"authorization": "Bearer sk-parley-other"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == DatabaseUnavailable.code
    assert answer.json()["error"]["message"] == "the database of API keys cannot be used: file is not a database"
    accounts.close()


def test_unknown_keys_and_bad_limits_are_refused(place: str, parley: Callable[..., str]) -> None:
    parley("create", "web")
    with access_database(place).session() as session, pytest.raises(NotFound, match="there is no key 'key_x'"):
        revoke(session, "key_x")
    assert main(["keys", "--key-database", place, "revoke", "key_x"]) == 1
    with pytest.raises(SystemExit):
        main(["keys", "--key-database", place, "create", "web", "--sessions", "0"])


def test_keys_are_asked_for_before_a_public_address_is_served(
    place: str, parley: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARLEY_API_KEY", raising=False)
    public = ["gateway", "--host", "192.0.2.1", "--pack", "no-such-pack", "--key-database", place]
    assert main(public) == 1
    assert "refusing to listen on 192.0.2.1 without an API key" in capsys.readouterr().err
    parley("create", "ops", "--scope", "operator")
    assert main(public) == 1
    assert "without an API key" in capsys.readouterr().err
    parley("create", "web")
    assert main(public) == 1
    assert "no-such-pack" in capsys.readouterr().err  # the next thing that is wrong


def test_deleted_rows_leave_no_bytes(place: str, parley: Callable[..., str]) -> None:
    database = access_database(place)
    with database.session() as session:
        assert session.connection().exec_driver_sql("PRAGMA secure_delete").scalar() == 1
    database.close()


async def test_a_key_is_asked_for_before_the_body_is_read(serve: Serve, service: FastAPI) -> None:
    host, port = (await serve(service)).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000000\r\n"
    writer.write(f"{head}Authorization: Bearer sk-wrong\r\n\r\n".encode())  # and nothing of the body
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_the_stock_client_knows_the_refusals(serve: Serve, service: FastAPI, parley: Callable[..., str]) -> None:
    url = await serve(service)
    few, operator = (
        parley("create", "few", "--requests-per-minute", "1"),
        parley("create", "ops", "--scope", "operator"),
    )
    for key, kind in (("sk-wrong", openai.AuthenticationError), (operator, openai.PermissionDeniedError)):
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            with pytest.raises(kind):
                await client.models.list()
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=few, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await ask_often(client)
    assert refused.value.code == "rate_limit_exceeded"


async def ask_often(client: openai.AsyncOpenAI) -> None:
    """More often than once in each of two minutes, since one may end in between."""
    for _ in range(9):
        await client.get("/models", cast_to=str)
