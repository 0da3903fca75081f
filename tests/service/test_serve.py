"""`parley serve` with the pack that ships, as processes: a spoken turn, a killed worker, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.supervisor import free_port
from tests.packs import starter
from tests.realtime import calling
from tests.sounds import flite

READY_SECONDS = 120
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}


@asynccontextmanager
async def served(*options: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A running service on a free port, and its supervisor."""
    starter()
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "serve", "--port", str(port), *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            while b"Parley is ready" not in (line := await process.stdout.readline()):
                assert line or process.returncode is None, "the service ended before it was ready"
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.wait()


def family(pid: int) -> Iterator[int]:
    """All processes below one, by /proc."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(path.parent.name)
            yield child
            yield from family(child)


async def turn(url: str, question: str) -> dict[str, Any]:
    """A spoken turn in a session of its own: what was heard and replied, and how the response ended."""
    async with calling(url) as caller:
        await caller.send("session.update", session=TRANSCRIBED)
        await caller.say(flite(question), then_silence=1.0)
        while not caller.log or caller.log[-1]["type"] not in (
            "response.done",
            "conversation.item.input_audio_transcription.failed",
        ):
            await caller.next()
        heard = caller.all("conversation.item.input_audio_transcription.completed")
        return {
            "heard": heard[0]["transcript"] if heard else None,
            "replied": caller.text("response.output_audio_transcript.delta"),
            "status": caller.log[-1].get("response", {}).get("status"),
            "audio": len(caller.all("response.output_audio.delta")),
        }


def process_of(stage: str, supervisor: int) -> int:
    """The process of one stage."""
    for pid in family(supervisor):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if stage.encode() in line[:5] and b"app" in line[:4]:
            return pid
    raise AssertionError(f"no process of {stage} below {supervisor}")


async def test_a_question_is_heard_answered_and_spoken() -> None:
    async with served() as (url, _):
        outcome = await turn(url, "what is twelve plus thirty")
    assert outcome["heard"] == "what is twelve plus thirty"
    assert "42" in outcome["replied"]
    assert outcome["status"] == "completed"
    assert outcome["audio"] > 0


async def test_a_killed_worker_comes_back_and_the_next_turn_works() -> None:
    async with served() as (url, supervisor), httpx.AsyncClient() as client:
        for stage in ("recognizer", "language", "synthesizer"):  # of one service, whose start takes the most of it
            os.kill(process_of(stage, supervisor.pid), signal.SIGKILL)
            down = await turn(url, "what time is it")
            async with asyncio.timeout(60):
                while (await client.get(f"{url}/health")).json()["status"] != "ok":
                    await asyncio.sleep(0.1)
            outcome = await turn(url, "what time is it")
            assert down["status"] in (None, "failed", "completed")  # it may be back already; the gateway never is gone
            assert outcome["heard"] == "what time is it", stage
            assert outcome["status"] == "completed", stage
            assert outcome["audio"] > 0, stage


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_no_process_is_left_behind(number: signal.Signals) -> None:
    async with served() as (_, supervisor):
        children = list(family(supervisor.pid))
        assert len(children) >= 4
        supervisor.send_signal(number)
        deadline = time.monotonic() + 20
        while any(alive(pid) for pid in children):
            assert time.monotonic() < deadline, "processes are left behind"
            await asyncio.sleep(0.05)


async def test_a_port_in_use_is_said_and_nothing_is_left() -> None:
    async with served() as (url, _):
        port = url.rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "serve", "--port", port, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(60):
                _, errors = await second.communicate()
        finally:
            if second.returncode is None:
                second.terminate()
                await second.wait()
    assert second.returncode == 1
    assert "address already in use" in errors.decode() or "in use" in errors.decode()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
