"""Fixtures for tests that need the real network path: uvicorn on loopback, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import uvicorn
from starlette.types import ASGIApp

Serve = Callable[[ASGIApp], str]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts uvicorn for an application and gives its URL; the socket listens before the server runs: no waiting."""
    servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    def start(app: ASGIApp) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        # Not `serve`: that takes over the process's signal handlers.
        servers.append((server, asyncio.create_task(server._serve(sockets=[listener]))))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, _ in servers:
        server.should_exit = True
    await asyncio.gather(*(task for _, task in servers))
