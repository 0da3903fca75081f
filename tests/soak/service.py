"""The gateway that is soaked, and an ordinary turn with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from app.access import Access
from app.gateway import GatewayOptions, create_app
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import Caller, calling
from tests.serving import serving

STORY = "And then they went on. " * 120  # 8 MiB of audio in base64: more than the kernel's buffers take
WAIT_SECONDS = 120  # for something that must happen, on a machine that may be busy


@contextlib.asynccontextmanager
async def soaked(
    replies: list[Any] | None = None,
    *,
    repeat: bool = False,
    ping_seconds: float = 20.0,
    access: Access | None = None,
    fails_on: str = "",
    **options: Any,
) -> AsyncIterator[tuple[str, Workers]]:
    """A gateway of scripted workers: its URL, and them. `options` are the gateway's."""
    workers = Workers(
        ScriptedRecognizer(["tell me more"], repeat=True),
        ScriptedLanguage(replies or ["Yes."], repeat=repeat or not replies),
        ScriptedSynthesizer(fails_on=fails_on),
    )
    settings = GatewayOptions(**{"audio_ahead_seconds": 10_000.0, **options})
    app = create_app(SCRIPTED, workers, options=settings, access=access)
    async with serving(app, ping_seconds=ping_seconds) as url:
        yield url, workers


@contextlib.asynccontextmanager
async def called(replies: list[Any] | None = None, **options: Any) -> AsyncIterator[tuple[Caller, Workers]]:
    """The same with one caller."""
    async with soaked(replies, **options) as (url, workers), calling(url) as caller:
        yield caller, workers


def item(text: str = "hello", **fields: Any) -> dict[str, Any]:
    """A typed message."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}


async def turn(caller: Caller) -> None:
    """An ordinary turn, which must work."""
    await caller.send("conversation.item.create", item=item())
    await caller.send("response.create")
    done = await caller.until("response.done")
    assert done["response"]["status"] == "completed", done


async def settled(caller: Caller) -> None:
    """Until everything sent before has been answered."""
    await caller.send("conversation.item.retrieve", item_id="settled", event_id="settled")
    while not any(error["error"]["event_id"] == "settled" for error in caller.all("error")):
        await caller.next()


async def until(happened: Callable[[], Any]) -> None:
    """Until something is so."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not happened():
            await asyncio.sleep(0.02)


def one_end_each(caller: Caller) -> int:
    """How many responses began; each must have ended once."""
    begun = [event["response"]["id"] for event in caller.all("response.created")]
    ended = [event["response"]["id"] for event in caller.all("response.done")]
    assert sorted(begun) == sorted(ended), (len(begun), len(ended))
    return len(begun)


def resident_mb() -> float:
    """Memory of this process: the gateway's and the callers'."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
