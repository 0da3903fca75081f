"""Keys, Host and Origin: as pure checks, and through a real server before and after the upgrade."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

import httpx
import pytest
import websockets
from fastapi import FastAPI, WebSocket
from starlette.types import Scope

from app.access import Access, accepted_subprotocol, check_bind, check_keys, is_loopback
from app.errors import AccessDenied, SettingsError
from app.rest import install

Serve = Callable[[FastAPI], Awaitable[str]]
KEYS = frozenset({"sk-one", "sk-two"})


def request(
    path: str = "/v1/models",
    *,
    kind: str = "http",
    host: str | None = "localhost:8000",
    origin: str | None = None,
    key: str | None = None,
    subprotocols: Sequence[str] = (),
    query: str = "",
) -> Scope:
    given = {"host": host, "origin": origin, "authorization": f"Bearer {key}" if key is not None else None}
    headers = [(name.encode(), value.encode()) for name, value in given.items() if value is not None]
    scope = {"type": kind, "path": path, "headers": headers, "query_string": query.encode()}
    return scope | {"subprotocols": list(subprotocols)}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST.", "a.localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_bind(host, closed=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.4", "parley.example", "localhost.example"])
def test_public_address_needs_a_key(host: str) -> None:
    with pytest.raises(SettingsError, match="without an API key: anybody"):
        check_bind(host, closed=False)
    check_bind(host, closed=True)


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "line\n"])
def test_unusable_key_is_refused_at_start(key: str) -> None:
    with pytest.raises(SettingsError, match="printable ASCII"):
        check_keys({key})


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:80", "[::1]:8000", "10.1.2.3:8000", "Talk.Example:443"]
)
async def test_known_hosts_pass(host: str) -> None:
    await Access(hosts=("talk.example",)).admit(request(host=host))


@pytest.mark.parametrize(
    "host", ["rebound.example", "localhost.example:8000", "", None, "localhost:x", "[::1", "127.0.0.1.example", "127.1"]
)
async def test_foreign_hosts_are_denied(host: str | None) -> None:
    with pytest.raises(AccessDenied) as denied:
        await Access(hosts=("talk.example",)).admit(request(host=host))
    assert denied.value.code == "forbidden_host"


async def test_two_host_headers_are_denied() -> None:
    scope = request()
    scope["headers"].append((b"host", b"localhost"))
    with pytest.raises(AccessDenied):
        await Access().admit(scope)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("https://talk.example", "talk.example"),  # a proxy ends TLS
        ("https://talk.example", "talk.example:443"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://pages.example", "talk.example"),
        (None, "talk.example"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_own_and_allowed_origins_pass(origin: str | None, host: str, kind: str) -> None:
    access = Access(hosts=("talk.example",), origins=("https://pages.example",))
    await access.admit(request(kind=kind, host=host, origin=origin))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "", "http://localhost:3000", "http://localhost", "file://", "http://127.0.0.1:8000",
        "http://localhost:8000.evil.example", "http://localhost:8000@evil.example", "http://localhost:8000/", "chrome-extension://x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_foreign_origins_are_denied(origin: str, kind: str) -> None:
    with pytest.raises(AccessDenied) as denied:
        await Access(origins=("https://pages.example",)).admit(request(kind=kind, origin=origin))
    assert denied.value.code == "forbidden_origin"


@pytest.mark.parametrize("key", ["sk-one", "sk-two"])
async def test_keys_open_by_header_and_subprotocol(key: str) -> None:
    access = Access(api_keys=KEYS)
    await access.admit(request(key=key))
    offered = ["realtime", f"openai-insecure-api-key.{key}", "openai-agents-sdk.0.20"]
    await access.admit(request("/v1/realtime", kind="websocket", subprotocols=offered))
    assert accepted_subprotocol(offered) == "realtime"
    assert accepted_subprotocol(offered[1:]) is None


@pytest.mark.parametrize("key", [None, "", "sk-on", "sk-one ", "sk-onee", "SK-ONE", "schlüssel", "sk-one,sk-two"])
async def test_no_or_wrong_key_is_denied(key: str | None) -> None:
    scope = request(key=key, query="api_key=sk-one&key=sk-one")
    if key == "sk-one ":
        await Access(api_keys=KEYS).admit(scope)  # optional white space around a header's value
        return
    with pytest.raises(AccessDenied) as denied:
        await Access(api_keys=KEYS).admit(scope)
    assert denied.value.code == "invalid_api_key"
    assert "sk-one" not in denied.value.message


async def test_page_and_health_need_no_key_but_a_known_host() -> None:
    access = Access(api_keys=KEYS)
    for path in ("/", "/health", "/web/client.js"):
        await access.admit(request(path))
        with pytest.raises(AccessDenied):
            await access.admit(request(path, host="rebound.example"))
    for path in ("/healthy", "/web", "/v1/realtime", "/openapi.json", "//"):
        with pytest.raises(AccessDenied):
            await access.admit(request(path))


def test_keys_are_not_shown() -> None:
    assert "sk-one" not in repr(Access(api_keys=KEYS))


def realtime_app(access: Access) -> FastAPI:
    app = FastAPI()
    install(app, access)

    @app.websocket("/v1/realtime")
    async def realtime(socket: WebSocket) -> None:
        await socket.accept(subprotocol=accepted_subprotocol(socket.scope["subprotocols"]))
        await socket.send_text("hello")
        await socket.close()

    return app


async def refused(url: str, **headers: str) -> tuple[int, dict[str, str | None], str]:
    with pytest.raises(websockets.InvalidStatus) as failure:
        async with websockets.connect(url, additional_headers=headers):
            pass
    response = failure.value.response
    return response.status_code, json.loads(response.body)["error"], response.headers["x-request-id"]


async def test_websocket_is_refused_before_the_upgrade(serve: Serve) -> None:
    url = (await serve(realtime_app(Access(api_keys=KEYS)))).replace("http", "ws") + "/v1/realtime"
    status, error, request_id = await refused(url)
    assert (status, error["code"]) == (401, "invalid_api_key")
    assert set(error) == {"message", "type", "param", "code"}
    assert request_id.startswith("req_")
    status, error, _ = await refused(url + "?api_key=sk-one", authorization="Bearer sk-wrong")
    assert (status, error["code"]) == (401, "invalid_api_key")
    status, error, _ = await refused(url, authorization="Bearer sk-one", origin="https://evil.example")
    assert (status, error["code"]) == (403, "forbidden_origin")


async def test_websocket_unknown_path_is_404_with_the_envelope(serve: Serve) -> None:
    url = (await serve(realtime_app(Access()))).replace("http", "ws")
    status, error, request_id = await refused(url + "/v1/nowhere")
    assert (status, error["code"]) == (404, "unknown_url")
    assert request_id.startswith("req_")


async def test_websocket_with_a_browser_key_selects_realtime(serve: Serve) -> None:
    url = (await serve(realtime_app(Access(api_keys=KEYS)))).replace("http", "ws") + "/v1/realtime"
    offered = [websockets.Subprotocol(name) for name in ("realtime", "openai-insecure-api-key.sk-two")]
    async with websockets.connect(url, subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"
        assert await socket.recv() == "hello"


async def test_http_denials_carry_the_envelope_and_allowed_pages_can_read_them(serve: Serve) -> None:
    access = Access(api_keys=KEYS, origins=("https://pages.example",))
    async with httpx.AsyncClient(base_url=await serve(realtime_app(access))) as client:
        answer = await client.get("/v1/models", headers={"origin": "https://pages.example"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "https://pages.example"
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.json()["error"]["code"] == "invalid_api_key"
        answer = await client.get("/v1/models", headers={"host": "rebound.example"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_host")
        preflight = {"origin": "https://pages.example", "access-control-request-method": "POST"}
        assert (await client.options("/v1/models", headers=preflight)).status_code == 200
        preflight["origin"] = "https://evil.example"
        answer = await client.options("/v1/models", headers=preflight)
        assert "access-control-allow-origin" not in answer.headers
