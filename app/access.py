"""Who may speak to a process: API keys, Host and Origin, for HTTP and WebSocket alike. Knows no route's work.

Any web page can open a connection to a loopback service, and DNS rebinding makes its own name point there; hence Host
and Origin are checked on every request, with or without keys.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app import metrics
from app.errors import AccessDenied, SettingsError

REALTIME_SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."  # browsers cannot set headers on a WebSocket: the key rides here
WITHOUT_KEY = ("/", "/health", "/metrics", "/operator")
WITHOUT_KEY_BELOW = "/web/"
OPERATORS = ("/v1/files", "/v1/fine_tuning", "/v1/packs")
"""Routes, with all below them, that a caller's key does not open."""
DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


@dataclass(frozen=True, slots=True)
class Access:
    """What a process lets in."""

    api_keys: frozenset[str] = field(default=frozenset(), repr=False)
    """Any one of them opens every route but the operators'; none means that no key is asked for."""
    operator_keys: frozenset[str] = field(default=frozenset(), repr=False)
    """Any one of them opens the operators' routes, and no other; where only callers have keys, nobody opens those."""
    hosts: tuple[str, ...] = ()
    """Names, without port, under which the service is reached, beside loopback names and plain IP addresses."""
    origins: tuple[str, ...] = ()
    """Foreign web origins, as `https://name[:port]`, whose pages may call; the service's own may always."""

    def check(self, scope: Scope) -> None:
        """Raises AccessDenied, code `forbidden_host`, `forbidden_origin`, `forbidden_key` or `invalid_api_key`."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_origin(headers)
        offered = offered_key(headers, scope.get("subprotocols", ()))
        if _is_operators(scope):
            self._check_operator(offered)
        elif self.api_keys and not _needs_no_key(scope):
            _check_key(offered, self.api_keys)

    def _check_host(self, headers: Headers) -> None:
        values = headers.getlist("host")
        name = _split_host(values[0])[0] if len(values) == 1 else ""
        allowed = {host.lower().rstrip(".") for host in self.hosts}
        # An IP literal cannot be rebound: a rebinding page sends its own name.
        if not name or not (is_loopback(name) or _is_address(name) or name in allowed):
            raise AccessDenied(
                f"Host {', '.join(values) or 'missing'!r} is not served here; expected localhost, an IP address"
                f" or one of the configured hosts",
                code="forbidden_host",
            )

    def _check_origin(self, headers: Headers) -> None:
        for origin in headers.getlist("origin"):
            if origin in self.origins:
                continue
            # Same host and port; the scheme may differ behind a proxy that ends TLS, and one port has one scheme.
            if (authority := _authority(origin)) is None or authority != _authority(
                f"{urlsplit(origin).scheme}://{headers.get('host', '')}"
            ):
                raise AccessDenied(
                    f"Pages of origin {origin!r} may not call this service; allow it in the service's origins",
                    code="forbidden_origin",
                )

    def _check_operator(self, key: str | None) -> None:
        if not self.api_keys and not self.operator_keys:
            return
        if key is not None and _is_among(key, self.api_keys - self.operator_keys):
            raise AccessDenied(
                "This is a caller's key; fine-tuning and packs need an operator's"
                + ("" if self.operator_keys else ", and this service has none: --operator-key"),
                code="forbidden_key",
            )
        _check_key(key, self.operator_keys)


def _check_key(key: str | None, known: Collection[str]) -> None:
    if key is None:
        raise AccessDenied("No API key was sent; expected the header 'Authorization: Bearer KEY'")
    if not _is_among(key, known):
        raise AccessDenied("The API key is not one of this service's keys")


def _is_among(key: str, known: Collection[str]) -> bool:
    offered = key.encode("utf-8", "surrogateescape")
    # Every key is compared, in constant time each: the time tells nothing of a key's prefix.
    return sum(hmac.compare_digest(offered, one.encode()) for one in known) > 0


def check_bind(host: str, api_keys: Collection[str]) -> None:
    """Refuses to serve a public address to everyone. Raises SettingsError saying why."""
    if any(not key or not key.isascii() or not key.isprintable() or " " in key for key in api_keys):
        raise SettingsError("an API key must be printable ASCII without spaces, and not empty")
    if not is_loopback(host) and not api_keys:
        raise SettingsError(
            f"refusing to listen on {host or 'every address'} without an API key: anybody who reaches this machine"
            f" could talk to the service; set a key, or listen on 127.0.0.1"
        )


def offered_key(headers: Headers, subprotocols: Sequence[str]) -> str | None:
    """The key of a request, from its Authorization header or WebSocket subprotocols; never from the query string."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    for name in subprotocols:
        if name.startswith(KEY_SUBPROTOCOL):
            return name.removeprefix(KEY_SUBPROTOCOL)
    return None


def accepted_subprotocol(offered: Sequence[str]) -> str | None:
    """What the handshake must select: browsers abort unless it is one that they offered, never the key."""
    return REALTIME_SUBPROTOCOL if REALTIME_SUBPROTOCOL in offered else None


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    name = host.lower().rstrip(".").removeprefix("[").removesuffix("]")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: resolves to loopback
        return True
    return _is_address(name) and ipaddress.ip_address(name).is_loopback


class AccessMiddleware:
    """Answers what `Access` refuses, before a body is read or a socket is upgraded."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers 401 or 403 with the error envelope."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._access.check(scope)
            except AccessDenied as denied:
                # To a WebSocket too, through ASGI's denial extension, which uvicorn's transports have.
                await _refusal(denied)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def denial_status(denied: AccessDenied) -> int:
    """401 for a key, 403 for a foreign Host or Origin."""
    return 401 if denied.code == AccessDenied.code else 403


def _refusal(denied: AccessDenied) -> JSONResponse:
    metrics.REFUSALS.labels(denied.code).inc()
    error = {"message": denied.message, "type": "invalid_request_error", "param": None, "code": denied.code}
    status = denial_status(denied)
    return JSONResponse({"error": error}, status, {"www-authenticate": "Bearer"} if status == 401 else None)


def _needs_no_key(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and (path in WITHOUT_KEY or path.startswith(WITHOUT_KEY_BELOW))


def _is_operators(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and any(path == own or path.startswith(f"{own}/") for own in OPERATORS)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _split_host(value: str) -> tuple[str, str]:
    """A Host header's name, lower case without brackets and final dot, and its port's text; ("", "") if malformed."""
    if value.startswith("["):
        name, closed, rest = value[1:].partition("]")
        port = rest.removeprefix(":")
        well_formed = bool(closed) and (not rest or rest.startswith(":"))
    else:
        name, _, port = value.partition(":")
        well_formed = True
    if not well_formed or (port and not (port.isascii() and port.isdigit())):
        return "", ""
    return name.lower().rstrip("."), port


def _authority(origin: str) -> tuple[str, int] | None:
    """(host, port) of an origin, None for `null` and what is none."""
    scheme, separator, rest = origin.partition("://")
    name, port = _split_host(rest)
    if not separator or scheme not in DEFAULT_PORTS or not name or len(port) > 5:
        return None
    return name, int(port) if port else DEFAULT_PORTS[scheme]
