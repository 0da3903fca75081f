"""Stages behind two processes each: one is killed in the middle of a turn, and the turn and the next one work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from app.supervisor import free_port
from finetune.measure import word_errors
from tests.realtime import calling
from tests.service.test_serve import READY_SECONDS, TRANSCRIBED, served
from tests.sounds import flite

QUESTION = "what is twelve plus thirty"


@asynccontextmanager
async def worker(stage: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A worker process on its own, healthy; its URL."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", stage, "--port", str(port), stdin=asyncio.subprocess.PIPE
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient() as client:
            while True:
                assert process.returncode is None, f"the {stage} ended before it was ready"
                try:
                    await client.get(f"{url}/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield url, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def urls_of(client: httpx.AsyncClient, stage: str) -> dict[str, Any]:
    """What the gateway says of each URL of a stage."""
    health = (await client.get("/health")).json()
    urls: dict[str, Any] = health["workers"][stage].get("detail", {}).get("urls", {})
    return urls  # empty where a busy machine does not answer in time


async def test_a_recognizer_killed_in_mid_sentence_costs_no_words() -> None:
    async with AsyncExitStack() as stack:
        workers = dict([await stack.enter_async_context(worker("recognizer")) for _ in range(2)])
        url, _ = await stack.enter_async_context(served("--recognizer", ",".join(workers)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url))
        caller = await stack.enter_async_context(calling(url))
        await caller.send("session.update", session=TRANSCRIBED)
        speech = flite(QUESTION)
        half = len(speech) // 4 * 2
        await caller.say(speech[:half])
        await caller.until("input_audio_buffer.speech_started")
        async with asyncio.timeout(60):
            while not (busy := [at for at, state in (await urls_of(client, "recognizer")).items() if state["open"]]):
                await asyncio.sleep(0.05)
        os.kill(workers[busy[0]].pid, signal.SIGKILL)
        await workers[busy[0]].wait()
        await caller.say(speech[half:], then_silence=1.0)
        heard = await caller.until("conversation.item.input_audio_transcription.completed")
        first = await caller.until("response.done")
        expected = {at: "down" if at == busy[0] else "ok" for at in workers}
        async with asyncio.timeout(60):
            while {at: state["state"] for at, state in (await urls_of(client, "recognizer")).items()} != expected:
                await asyncio.sleep(0.05)
        await caller.say(speech, then_silence=1.0)
        second = await caller.until("response.done")
    assert word_errors(QUESTION, heard["transcript"]) <= 2
    assert first["response"]["status"] == second["response"]["status"] == "completed"


async def test_a_killed_language_model_and_voice_are_gone_round() -> None:
    async with AsyncExitStack() as stack:
        languages = dict([await stack.enter_async_context(worker("language")) for _ in range(2)])
        voices = dict([await stack.enter_async_context(worker("synthesizer")) for _ in range(2)])
        options = ("--language", ",".join(languages), "--synthesizer", ",".join(voices))
        url, _ = await stack.enter_async_context(served(*options))
        caller = await stack.enter_async_context(calling(url))
        for turn in range(3):
            if turn == 1:
                for first, *_ in (list(languages.values()), list(voices.values())):
                    first.kill()
                    await first.wait()
            await caller.say(flite(QUESTION), then_silence=1.0)
            done = await caller.until("response.done")
            assert done["response"]["status"] == "completed", done["response"]
            assert caller.all("response.output_audio.delta")
            caller.log.clear()
