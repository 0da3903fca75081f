"""Fixtures of several tests: real servers within one test, a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from fastapi import FastAPI

from tests.postgres import postgres as postgres
from tests.serving import serving


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[FastAPI], Awaitable[str]]]:
    """Runs an application on loopback until the test ends; gives its http:// URL."""
    async with AsyncExitStack() as stack:
        yield lambda app: stack.enter_async_context(serving(app))
