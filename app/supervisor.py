"""`parley serve` on one machine: starts gateway and workers as processes, watches and restarts them.

Knows nothing of what a stage does. A process that dies, or that fails three health checks in a row, is started again,
after 0.5 s at first and up to 30 s when it keeps dying. On SIGINT or SIGTERM all are ended. If the supervisor itself is
killed, each child notices that its standard input has ended, and leaves by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app import metrics
from app.errors import SettingsError, WorkerUnavailable

log = logging.getLogger("parley.supervisor")

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0  # a process that lived this long starts again without extra waiting
START_SECONDS = 120.0  # until a process must be healthy; loading a model from disk takes most of it
VLLM_START_SECONDS = 1800.0  # vLLM compiles kernels and reads tens of gigabytes
CHECK_SECONDS = 10.0  # between health checks of a healthy process
FAILED_CHECKS = 3  # in a row, before a process that hangs is killed
ANSWER_SECONDS = 20.0  # for a health check: on an overloaded machine, killing a slow process would make it worse
STOP_SECONDS = 5.0  # to end by itself after SIGTERM
SUPERVISED = "PARLEY_SUPERVISED"


@dataclass(slots=True)
class Child:
    """One process of the service."""

    name: str
    arguments: Sequence[str]
    """Of `python -m app`."""
    health_url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = START_SECONDS
    drain_seconds: float = 0.0
    """For a process whose callers' turns come to their end first: it is asked to leave before the others are."""
    process: asyncio.subprocess.Process | None = None


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(host: str, port: int) -> None:
    """Raises SettingsError where the address cannot be listened on.

    Asked before anything starts: the health check of a second service would be answered by the first one's gateway.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error


def leave_with_parent() -> None:
    """In a supervised process: ends it when the supervisor is gone, however that died."""
    import threading

    def wait() -> None:
        # Not sys.stdin, whose lock a dying interpreter cannot take. Nothing is ever written: this returns at end of
        # file, when the other end of the pipe is closed.
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    if os.environ.get(SUPERVISED):
        threading.Thread(target=wait, name="parent-watch", daemon=True).start()


async def supervise(children: Sequence[Child], on_ready: Callable[[], None]) -> None:
    """Runs the children until cancelled; `on_ready` is called once, when all are healthy for the first time.

    Raises WorkerUnavailable when a child ends before it was ever healthy: then something is wrong that a restart
    does not mend, and its own log line says what.
    """
    try:
        async with asyncio.TaskGroup() as group:
            first_healthy = [asyncio.get_running_loop().create_future() for _ in children]
            for child, healthy in zip(children, first_healthy, strict=True):
                group.create_task(_keep(child, healthy))
            await asyncio.gather(*first_healthy)
            on_ready()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        await asyncio.shield(_stop_all(children))


async def _keep(child: Child, healthy: asyncio.Future[None]) -> None:
    """Starts a child again and again."""
    backoff = FIRST_BACKOFF_SECONDS
    while True:
        started = time.monotonic()
        await _start(child)
        assert child.process is not None
        watching = asyncio.create_task(_watch(child, healthy))
        try:
            code = await child.process.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        _kill_group(child, signal.SIGKILL)  # what it left behind
        if folder := child.environment.get(metrics.SHARED_FOLDER):
            metrics.forget(child.process.pid, Path(folder))
        if not healthy.done():
            raise WorkerUnavailable(f"{child.name} ended with {_reason(code)} before it was ready; see its log above")
        if time.monotonic() - started > STEADY_SECONDS:
            backoff = FIRST_BACKOFF_SECONDS
        log.error("%s ended with %s; starting it again in %.1f s", child.name, _reason(code), backoff)
        await asyncio.sleep(backoff)
        backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)


async def _start(child: Child) -> None:
    child.process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app",
        *child.arguments,
        stdin=asyncio.subprocess.PIPE,  # its end tells the child that the supervisor is gone
        env={**os.environ, **child.environment, SUPERVISED: "1"},
        start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then ends all in order
    )
    log.debug("%s started as process %d", child.name, child.process.pid)


async def _watch(child: Child, healthy: asyncio.Future[None]) -> None:
    """Waits for the first good health check, then checks on; kills a process that hangs."""
    deadline = time.monotonic() + child.start_seconds
    # The certificate names a public host; this check goes to loopback and asks only whether somebody is there.
    no_verify = ssl.create_default_context()
    no_verify.check_hostname = False
    no_verify.verify_mode = ssl.CERT_NONE
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False, verify=no_verify) as client:
        while not await _is_well(client, child.health_url):
            if time.monotonic() > deadline:
                log.error("%s was not ready within %.0f s; killing it", child.name, child.start_seconds)
                _kill_group(child, signal.SIGKILL)
                return
            await asyncio.sleep(0.1)
        if healthy.done():
            log.info("%s is back", child.name)
        else:
            healthy.set_result(None)
        failed = 0
        while failed < FAILED_CHECKS:
            await asyncio.sleep(CHECK_SECONDS)
            failed = 0 if await _is_well(client, child.health_url) else failed + 1
    log.error("%s does not answer; killing it", child.name)
    _kill_group(child, signal.SIGKILL)


async def _is_well(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


async def _stop_all(children: Sequence[Child]) -> None:
    running = [child for child in children if child.process is not None and child.process.returncode is None]
    draining = [child for child in running if child.drain_seconds]
    await _stop(draining, max((child.drain_seconds for child in draining), default=0.0))  # they need the others so long
    await _stop([child for child in running if not child.drain_seconds], 0.0)
    for child in children:
        _kill_group(child, signal.SIGKILL)


async def _stop(children: Sequence[Child], drain_seconds: float) -> None:
    for child in children:
        _kill_group(child, signal.SIGTERM)
    waits = [asyncio.create_task(child.process.wait()) for child in children if child.process is not None]
    if waits:
        await asyncio.wait(waits, timeout=drain_seconds + STOP_SECONDS)
    for child in children:
        _kill_group(child, signal.SIGKILL)
    await asyncio.gather(*waits)


def _kill_group(child: Child, signal_number: signal.Signals) -> None:
    """The process and those that it started: each child leads a group of its own."""
    if child.process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal_number)


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
