"""The sockets that a process listens on, and the server around its application. Knows no route.

Gateway processes may share a port: with SO_REUSEPORT the kernel gives each new connection to one of them, and a call
stays where it began. Such a process has a loopback port of its own besides, where its supervisor sees that it is well.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from app.errors import SettingsError
from app.seats import Seats

log = logging.getLogger("parley.listen")

OWN_PORT = "PARLEY_OWN_PORT"  # set by the supervisor for each of several gateway processes
BACKLOG = 2048  # calls that wait to be accepted, as uvicorn's own

# A peer that takes nothing is given up by the kernel, whose buffers the application cannot see into (tcp(7)). Longer
# than the gateway's own patience with a slow reader, which ends the session; this ends the connection.
UNTAKEN_MS = 60_000


def listen(host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """Listening sockets, one for each address of `host`; port 0 is the system's choice. Raises SettingsError."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # With the protocol named: asyncio sets TCP_NODELAY only on sockets that say they are TCP.
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)  # accepted ones inherit it
            listener.bind(address)
            listener.listen(BACKLOG)
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    return sockets


class Server(uvicorn.Server):
    """uvicorn's, which at the first SIGTERM serves on until its seats have drained."""

    def __init__(self, config: uvicorn.Config, seats: Seats | None) -> None:
        super().__init__(config)
        self._seats = seats
        self._asked_to_leave = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come. It may have interrupted anything, so that the seats hear of it at the next tick."""
        if sig == signal.SIGTERM and self._seats is not None and self.started and not self._asked_to_leave:
            self._asked_to_leave = True
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to leave now."""
        if self._asked_to_leave and self._seats is not None:
            if not self._seats.draining:
                log.info("asked to leave: no new sessions, running turns have %.0f s", self._seats.drain_seconds)
                self._seats.drain()
            self.should_exit = self.should_exit or self._seats.drained
        return await super().on_tick(counter)


def run(
    app: ASGIApp, host: str, port: int, *, tls_cert: str = "", tls_key: str = "", seats: Seats | None = None
) -> None:
    """Serves until SIGINT or SIGTERM; with `seats`, SIGTERM drains them first and a second one does not wait.

    Raises SettingsError for an address that cannot be listened on.
    """
    own_port = int(os.environ.get(OWN_PORT, "0"))
    sockets = listen(host, port, shared=own_port > 0)
    if own_port:
        sockets += listen("127.0.0.1", own_port, shared=False)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=16 * 1024 * 1024,  # a 15 MiB append fits; a larger frame is closed with 1009
        ws_per_message_deflate=False,  # base64 audio costs CPU and hardly shrinks
        ssl_certfile=tls_cert or None,
        ssl_keyfile=tls_key or None,
        timeout_graceful_shutdown=3,
    )
    # A handshake refused in words is not completed, which uvicorn takes for a fault of the application.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "without completing handshake" not in record.msg)
    server = Server(config, seats)
    gc.collect()
    gc.freeze()  # a full collection would stop every caller to look again at a hundred thousand objects of libraries
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        return
    if not server.started:
        sys.exit(1)  # the application's start failed; its log says why
