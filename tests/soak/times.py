"""Rows about hours."""

from __future__ import annotations

import asyncio
import json
import time

from websockets.asyncio.client import connect

from app.workers.scripted import ScriptedRecognizer
from tests.realtime import Caller, calling
from tests.soak.service import called, resident_mb, settled, soaked, turn
from tests.sounds import flite, silence

QUARTERS, QUARTER_SECONDS = 4, 300  # of silence heard; sent as fast as it is taken


async def session_expires() -> str:
    """2-hour session: the end after 60 minutes (scaled to 3 s)"""
    async with soaked(session_seconds=3.0) as (url, _):
        address = f"ws{url.removeprefix('http')}/v1/realtime"
        async with connect(address, proxy=None) as ws:
            frames = [json.loads(frame) async for frame in ws]
            assert ws.close_code == 1000
        assert frames[-1]["error"]["code"] == "session_expired"
        async with calling(url) as caller:
            await turn(caller)
    return "session_expired, closed with 1000; the next session works"


async def hours_of_silence() -> str:
    """VAD over 20 minutes of silence (of hours): processor time and memory by quarter"""
    async with called() as (caller, workers):
        cpu, memory = [], []
        for _ in range(QUARTERS):
            before = time.process_time()
            await caller.say(silence(QUARTER_SECONDS))
            await settled_now(caller)
            cpu.append(time.process_time() - before)
            memory.append(resident_mb())
        await turn(caller)
        assert isinstance(workers.recognizer, ScriptedRecognizer)
        assert workers.recognizer.asked == []
    grown = memory[-1] - memory[0]
    assert grown < 50, memory
    return (
        f"processor seconds {', '.join(f'{spent:.1f}' for spent in cpu)}; memory grew by {grown:.0f} MB, nothing heard"
    )


async def settled_now(caller: Caller) -> None:
    """Waits for the answer to an event of its own; the log is emptied, so that only the service's memory counts."""
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")
    caller.log.clear()


async def endless_buffer() -> str:
    """a buffer that is never committed, 10 minutes of audio"""
    async with called() as (caller, _):
        await caller.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
        before = resident_mb()
        await caller.say(silence(600))
        await settled(caller)
        grown = resident_mb() - before
        told = [error for error in caller.all("error") if error["error"]["code"] == "input_audio_buffer_full"]
        await caller.send("input_audio_buffer.clear")
        await turn(caller)
    assert len(told) == 1
    assert grown < 100
    return f"one error, memory grew by {grown:.0f} MB, the next turn worked"


async def many_turns() -> str:
    """300 spoken turns in one session: memory"""
    async with called() as (caller, _):
        question = flite("tell me more about it")
        memory = []
        for number in range(300):
            await caller.say(question, then_silence=0.8)
            await caller.until("response.done")
            caller.log.clear()
            if number % 100 == 99:
                memory.append(resident_mb())
            await asyncio.sleep(0)
    assert memory[-1] - memory[0] < 60, memory
    return f"memory after 100, 200, 300 turns: {', '.join(f'{mb:.0f} MB' for mb in memory)}"


ROWS = [session_expires, hours_of_silence, endless_buffer, many_turns]
