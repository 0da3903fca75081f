"""Several gateway processes on one port: calls are spread, one's death ends its own calls alone, all end together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app import keys
from app.access import Access
from app.supervisor import free_port
from app.workers import server
from app.workers.base import LanguageModel
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.app.test_metrics import scraped
from tests.realtime import Caller, calling
from tests.service.test_serve import served
from tests.serving import serving

MOST_CALLS = 64  # the kernel spreads them by chance: that all of them reach one of two processes has odds of 1 to 2^63


@asynccontextmanager
async def gateways(
    count: int, *arguments: str, language: LanguageModel | None = None
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Gateway processes on a free port, their workers scripted, in this process; and their supervisor."""
    access = Access()
    recognizer = server.recognizer_app(ScriptedRecognizer([]), access=access, model="scripted")
    language = language or ScriptedLanguage(["Yes."], repeat=True)
    writer = server.language_app(language, access=access, model="en-starter")
    synthesizer = server.synthesizer_app(ScriptedSynthesizer(voices=["nova"]), access=access, model="scripted")
    async with serving(recognizer) as hears, serving(writer) as writes, serving(synthesizer) as speaks:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "gateway", "--workers", str(count), "--port", str(port), "--recognizer", hears,
            "--language", writes, "--language-model", "en-starter", "--synthesizer", speaks, *arguments,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            async with asyncio.timeout(120):
                assert b"gateway is ready" in await process.stdout.readline()
            yield f"http://127.0.0.1:{port}", process
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(30):
                await process.wait()


async def ask(caller: Caller) -> str:
    """A typed question; gives how its reply ended."""
    await caller.send("response.create", response={"output_modalities": ["text"]})
    status: str = (await caller.until("response.done"))["response"]["status"]
    return status


def calls_of(process: psutil.Process, url: str) -> int:
    """Connections that a gateway process has accepted on the shared port."""
    port = int(url.rpartition(":")[2])
    return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port for c in process.net_connections())


async def test_calls_are_spread_and_one_process_may_die() -> None:
    async with gateways(2) as (url, supervisor), AsyncExitStack() as stack:
        first, second = psutil.Process(supervisor.pid).children()
        callers = []
        while not (calls_of(first, url) and calls_of(second, url)):
            assert len(callers) < MOST_CALLS
            callers.append(await stack.enter_async_context(calling(url)))
        assert [await ask(caller) for caller in callers] == ["completed"] * len(callers)
        assert (await scraped(url))["parley_sessions"] == len(callers)  # either process answers for both
        alive = calls_of(second, url)
        first.kill()
        outcomes = [await outcome(caller) for caller in callers]
        assert outcomes.count("completed") == alive
        assert outcomes.count("closed") == len(callers) - alive
        async with asyncio.timeout(120):
            while (
                len(psutil.Process(supervisor.pid).children()) < 2 or first in psutil.Process(supervisor.pid).children()
            ):
                await asyncio.sleep(0.05)
        assert (await scraped(url))["parley_sessions"] == alive  # none is left of the dead process
        async with calling(url) as caller:
            assert await ask(caller) == "completed"
        assert (await scraped(url))["parley_turns_total{status=completed}"] == len(callers) + alive + 1


async def outcome(caller: Caller) -> str:
    """What comes of a question, also where the call is gone."""
    try:
        return await ask(caller)
    except ConnectionClosed:
        return "closed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_all_processes_end_together(number: signal.Signals) -> None:
    async with gateways(2) as (url, supervisor), calling(url):
        children = psutil.Process(supervisor.pid).children()
        folder = Path(children[0].environ()["PROMETHEUS_MULTIPROC_DIR"])
        os.kill(supervisor.pid, number)
        async with asyncio.timeout(30):
            while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
                await asyncio.sleep(0.05)
        await supervisor.wait()
        assert number == signal.SIGKILL or not await asyncio.to_thread(folder.exists)
        with pytest.raises(httpx.ConnectError):
            await scraped(url)


async def test_the_whole_service_has_several_gateways_too() -> None:
    async with served("--workers", "2") as (url, supervisor):
        names = [process.cmdline()[3] for process in psutil.Process(supervisor.pid).children()]
        assert sorted(names) == ["gateway", "gateway", "language", "recognizer", "synthesizer"]
        async with calling(url) as caller:
            assert await ask(caller) == "completed"


async def test_processes_count_a_keys_sessions_together(tmp_path: Path) -> None:
    place = str(tmp_path / "access.sqlite")
    with keys.access_database(place).session() as session:
        key = keys.create(session, "web", ["caller"], sessions=1)[1]
    headers = {"authorization": f"Bearer {key}"}
    async with gateways(2, "--key-database", place) as (url, _):
        address = f"ws{url.removeprefix('http')}/v1/realtime"
        async with connect(address, additional_headers=headers, proxy=None):
            for _ in range(16):  # of which all reach one process with odds of 1 to 2^15
                with pytest.raises(InvalidStatus) as refused:
                    await connect(address, additional_headers=headers, proxy=None)
                assert refused.value.response.status_code == 429


async def test_a_port_in_use_is_said() -> None:
    async with gateways(2) as (url, _):
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "gateway", "--workers", "2", "--port", url.rpartition(":")[2],
            "--recognizer", url, "--language", url, "--synthesizer", url, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            _, errors = await second.communicate()
    assert second.returncode == 1
    assert "cannot listen on" in errors.decode()
