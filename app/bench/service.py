"""The service that a bench loads: a running one, or one of its own that ends with the bench. Loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from app.access import is_loopback
from app.errors import BadRequest, WorkerUnavailable
from app.supervisor import free_port

START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Service:
    """Where it is, and its process where the bench started it."""

    url: str
    pid: int | None = None

    def cpu_seconds(self) -> dict[tuple[str, int], float]:
        """CPU time so far of each process, by command (gateway, recognizer, ...) and process id.

        What a process has started counts as its own. Empty for a service that the bench did not start.
        """
        if self.pid is None:
            return {}
        import psutil

        spent: dict[tuple[str, int], float] = {}
        for child in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.Error, ValueError):  # one that ends just now, or no stage
                command = child.cmdline()
                name = command[command.index("app") + 1], child.pid
                for process in (child, *child.children(recursive=True)):
                    times = process.cpu_times()
                    spent[name] = spent.get(name, 0.0) + times.user + times.system
        return spent


def check_loopback(url: str) -> None:
    """Raises BadRequest: a bench loads this machine only."""
    if not is_loopback(urlsplit(url).hostname or ""):
        raise BadRequest(f"the bench loads this machine only, got {url}, expected a loopback address")


@contextlib.asynccontextmanager
async def service(url: str) -> AsyncIterator[Service]:
    """The service at `url`, or one started with `parley serve`. Raises BadRequest, WorkerUnavailable."""
    if url:
        check_loopback(url)
        yield Service(url.rstrip("/"))
        return
    here = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "app", "serve", "--port", str(port), "--log-level", "error"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await _until_ready(process, here)
        yield Service(here, process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _until_ready(process: asyncio.subprocess.Process, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/health")).json()["status"] == "ok":
                    return
            if process.returncode is not None or time.monotonic() > deadline:
                raise WorkerUnavailable("the service did not become ready; its log is above")
            await asyncio.sleep(0.2)
