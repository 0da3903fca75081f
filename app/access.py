"""Who may speak to a process: Host, Origin and API keys, for HTTP and WebSocket alike. Knows no route's work.

Any web page can open a connection to a loopback service, and DNS rebinding makes its own name point there; hence Host
and Origin are checked on every request, with or without keys.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.callers import SETTINGS, Caller, Wanted, permit
from app.callers import Scope as KeyScope
from app.errors import AccessDenied, ParleyError, SettingsError
from app.visits import Visit

if TYPE_CHECKING:
    from app.accounts import Accounts

REALTIME_SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."  # browsers cannot set headers on a WebSocket: the key rides here
WITHOUT_KEY = ("/", "/health", "/metrics", "/operator")
WITHOUT_KEY_BELOW = "/web/"
OPERATORS = ("/v1/files", "/v1/fine_tuning", "/v1/packs")
"""Routes, with all below them, that a caller's key does not open."""
AUDIO_BELOW = "/v1/audio/"
"""Routes that hear or speak."""
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

    accounts: Accounts | None = field(default=None, repr=False)
    """Further keys, in a database; None: there are none."""

    async def admit(self, scope: Scope) -> Visit:
        """Lets a request in. Raises AccessDenied, LimitReached, DatabaseUnavailable.

        Codes of AccessDenied: `forbidden_host`, `forbidden_origin`, `forbidden_key`, `invalid_api_key`.
        """
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_origin(headers)
        if _needs_no_key(scope):
            return Visit()
        wanted = _wanted(scope)
        closed = bool(self.api_keys or (wanted.scope == "operator" and self.operator_keys))
        operators = bool(self.operator_keys)
        key = offered_key(headers, scope.get("subprotocols", ()))
        caller = self._configured(key)
        if self.accounts is not None and (caller is None or wanted.scope not in caller.scopes):
            return await self.accounts.visit(key, caller, wanted, closed=closed, operators=operators)
        return Visit(permit(caller, wanted, key=key, closed=closed, operators=operators))

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

    def _configured(self, key: str | None) -> Caller | None:
        """Whom a key of the settings stands for."""
        scopes: list[KeyScope] = []
        if key is not None and _is_among(key, self.api_keys):
            scopes.append("caller")
        if key is not None and _is_among(key, self.operator_keys):
            scopes.append("operator")
        return Caller(SETTINGS, frozenset(scopes)) if scopes else None


def _is_among(key: str, known: Collection[str]) -> bool:
    offered = key.encode("utf-8", "surrogateescape")
    # Every key is compared, in constant time each: the time tells nothing of a key's prefix.
    return sum(hmac.compare_digest(offered, one.encode()) for one in known) > 0


def check_keys(keys: Collection[str]) -> None:
    """Refuses keys that no header can carry. Raises SettingsError."""
    if any(not key or not key.isascii() or not key.isprintable() or " " in key for key in keys):
        raise SettingsError("an API key must be printable ASCII without spaces, and not empty")


def check_bind(host: str, *, closed: bool) -> None:
    """Refuses to serve a public address to everyone; `closed`: a key is asked for. Raises SettingsError saying why."""
    if not is_loopback(host) and not closed:
        raise SettingsError(
            f"refusing to listen on {host or 'every address'} without an API key: anybody who reaches this machine"
            f" could talk to the service; make one (PARLEY_API_KEY, or `parley keys create`), or listen on 127.0.0.1"
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

    def __init__(self, app: ASGIApp, access: Access, refuse: Callable[[ParleyError], ASGIApp]) -> None:
        """`refuse` makes the answer of an error."""
        self._app = app
        self._access = access
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers 401, 403, 429 or 503 with the error envelope."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        try:
            scope["parley.visit"] = visit = await self._access.admit(scope)
        except ParleyError as error:
            # To a WebSocket too, through ASGI's denial extension, which uvicorn's transports have.
            return await self._refuse(error)(scope, receive, send)
        try:
            return await self._app(scope, receive, send)
        finally:
            await visit.settle()


def denial_status(denied: AccessDenied) -> int:
    """401 for a key, 403 for a foreign Host or Origin, or a key of the other kind."""
    return 401 if denied.code == AccessDenied.code else 403


def _needs_no_key(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and (path in WITHOUT_KEY or path.startswith(WITHOUT_KEY_BELOW))


def _wanted(scope: Scope) -> Wanted:
    path: str = scope["path"]
    call = scope["type"] == "websocket"
    if not call and any(path == own or path.startswith(f"{own}/") for own in OPERATORS):
        return Wanted("operator")
    return Wanted("caller", call=call, audio=call or path.startswith(AUDIO_BELOW))


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
