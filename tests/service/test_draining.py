"""SIGTERM drains: who is quiet is sent away, a running reply comes to its end, nobody new is let in; all in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.workers.base import ChatRequest, Health, ReplyPart, TextDelta, Usage
from tests.realtime import Caller, calling
from tests.service.test_gateways import gateways


class HeldLanguage:
    """Begins a reply, and ends it when it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """Once upon a time."""
        yield TextDelta("Once ")
        await self.released.wait()
        yield TextDelta("upon a time.")
        yield Usage(1, 4, "stop")

    async def health(self) -> Health:
        """Always well."""
        return Health("language", "held", "held")


async def test_a_running_reply_comes_to_its_end() -> None:
    language = HeldLanguage()
    async with gateways(2, language=language) as (url, supervisor), calling(url) as quiet, calling(url) as busy:
        await begun(busy)
        supervisor.terminate()
        assert await closed(quiet) == 1012
        async with httpx.AsyncClient(trust_env=False) as client:
            health = await client.get(f"{url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "draining")
        with pytest.raises(InvalidStatus) as refused:
            await connect("ws" + url.removeprefix("http") + "/v1/realtime", proxy=None)
        assert (refused.value.response.status_code, refused.value.response.headers["retry-after"]) == (503, "1")
        assert orjson.loads(refused.value.response.body or b"")["error"]["code"] == "service_draining"
        language.released.set()
        done = await busy.until("response.done")
        assert done["response"]["status"] == "completed"
        assert busy.text("response.output_text.delta") == "Once upon a time."
        assert await closed(busy) == 1012
        async with asyncio.timeout(60):
            assert await supervisor.wait() == 0


async def test_a_reply_that_takes_too_long_ends_with_the_process() -> None:
    async with gateways(2, "--drain-seconds=1", language=HeldLanguage()) as (url, supervisor), calling(url) as busy:
        await begun(busy)
        supervisor.terminate()
        assert await closed(busy) == 1012
        async with asyncio.timeout(60):
            assert await supervisor.wait() == 0


async def begun(caller: Caller) -> None:
    """A reply runs."""
    await caller.send("response.create", response={"output_modalities": ["text"]})
    await caller.until("response.output_text.delta")


async def closed(caller: Caller) -> int:
    """The code with which the service closes the call."""
    while True:
        try:
            await caller.next()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd is not None else 0
