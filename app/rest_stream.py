"""Answers that are streamed, and work that ends when its caller leaves. Knows no route and no stage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from app.reply import close

EVENT_STREAM = "text/event-stream"
DONE = b"data: [DONE]\n\n"
T = TypeVar("T")


class Stream(StreamingResponse):
    """A streamed answer that closes its source when it ends or the caller leaves: closing cancels the work behind."""

    def __init__(self, content: AsyncIterator[bytes], source: AsyncIterator[Any], media_type: str) -> None:
        super().__init__(content, media_type=media_type, headers={"cache-control": "no-store"})
        self._content = content
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the end, a failure, or a disconnect."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await close(self._content)
            await close(self._source)


def sse(event: Any) -> bytes:
    """One server-sent event with a JSON body."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


async def first_of(items: AsyncIterator[T]) -> T | None:
    """The first item, or None at the end. Awaited before an answer begins, so that a failure has its own status."""
    try:
        return await anext(items, None)
    except BaseException:
        await close(items)
        raise


async def resumed(first: T | None, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    """An iterator whose first item has been taken by `first_of`."""
    if first is not None:
        yield first
        async for item in rest:
            yield item


async def all_of(items: AsyncIterator[T]) -> list[T]:
    """Every item, in order."""
    try:
        return [item async for item in items]
    finally:
        await close(items)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, cancelled if the caller leaves first. To be called after the body has been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(499, "The caller left")  # nobody reads it; the access log shows it, as nginx's does
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
