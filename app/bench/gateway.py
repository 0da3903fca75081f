"""`parley bench gateway`: what the gateway adds to a call, and what a caller costs it, with workers that do no work.

Up: from the moment a caller sends the last bytes of a frame until a recognizer has the frame. Down: from the moment a
chunk leaves the voice until the caller has it. Callers talk in real time from this process; the gateway is another one,
pinned to a core of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.audio import FRAME_SECONDS, REALTIME_RATE, Pcm16, Resampler
from app.bench.gateway_host import HEARD
from app.bench.gateway_load import APPEND_SECONDS, Call, Caller, completed_by, frames_of
from app.bench.report import Cell, Report
from app.config import Settings
from app.errors import BadRequest, WorkerUnavailable
from app.packs import find_pack
from app.supervisor import free_port
from app.workers import connect

PERIOD_SECONDS = 6.0  # of a caller: a question, its answer, a pause
START_SECONDS = 60.0
AT_ONCE_SECONDS = (
    0.002  # frames handed over together: those kept from before the speech was noticed, which waited for it
)
AIM_CALLERS, AIM_MS = 64, 10.0  # p99 of either way, in one process on one core


@dataclass(frozen=True, slots=True)
class Measured:
    """One condition's raw figures, in seconds where not said otherwise."""

    up: Sequence[float]
    down: Sequence[float]
    late: Sequence[float]
    """How late the callers' own frames left: what their process adds, and not the gateway."""
    cpu: float
    rss_bytes: int
    lag: float
    """Of the gateway's event loop: 99 of 100 wake-ups were no later."""
    replies: int
    errors: Sequence[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley bench gateway`."""
    parser.add_argument("--callers", default="1,16,64,256", help="how many at once, one after the other [1,16,64,256]")
    parser.add_argument("--seconds", type=float, default=12.0, help="measured for each number of callers [12]")
    parser.add_argument(
        "--workers", default="inside,wire", help="inside: in the gateway's process; wire: in another one [inside,wire]"
    )


def run(args: argparse.Namespace) -> Report:
    """Measures every number of callers with every place of the workers."""
    import uvloop

    places = args.workers.split(",")
    if not set(places) <= {"inside", "wire"}:
        raise BadRequest(f"workers must be inside or wire, got {args.workers!r}")
    numbers = [int(number) for number in args.callers.split(",")]
    frames = frames_of(asyncio.run(_question()))
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    for place in places:
        for callers in numbers:
            measured = uvloop.run(_measure(place, callers, args.seconds, frames, cores))
            rows.append(row_of(place, callers, args.seconds, measured))
            print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), file=sys.stderr, flush=True)
            for error in sorted(set(measured.errors))[:3]:
                print(f"  {error}", file=sys.stderr, flush=True)
    configuration: dict[str, Cell] = {
        "gateway_processes": 1,
        "gateway_cores": 1 if len(cores) > 1 else "shared with the callers",
        "seconds": args.seconds,
        "appends_per_s": round(1 / APPEND_SECONDS),
        "period_s": PERIOD_SECONDS,
    }
    drawn = ("up_p99_ms", "down_p99_ms", "cpu_percent")
    failures = [f"{row['callers']} callers: {row['errors']} errors" for row in rows if row["errors"]]
    return Report("gateway", configuration, rows, _notes(rows), drawn, failures)


def row_of(place: str, callers: int, seconds: float, measured: Measured) -> dict[str, Cell]:
    """The figures of one condition."""
    row: dict[str, Cell] = {"workers": place, "callers": callers}
    for way, latencies in (("up", measured.up), ("down", measured.down)):
        for percent in (50, 95, 99):
            row[f"{way}_p{percent}_ms"] = round(float(np.percentile(latencies, percent)) * 1000, 2) if latencies else ""
    row["cpu_percent"] = round(measured.cpu / seconds * 100, 1)
    row["cpu_per_caller_percent"] = round(measured.cpu / seconds / callers * 100, 3)
    row["rss_per_caller_mib"] = round(measured.rss_bytes / callers / 2**20, 3)
    row["loop_lag_p99_ms"] = round(measured.lag * 1000, 2)
    row["callers_late_p99_ms"] = round(float(np.percentile(measured.late, 99)) * 1000, 2)
    return row | {"replies": measured.replies, "errors": len(measured.errors)}


def handed_over(call: Call, noted: Sequence[Sequence[float]], since: float) -> list[float]:
    """Seconds from a frame's last bytes to its hand-over, of the live frames sent after `since`."""
    completed = completed_by(len(call.sent))
    delays = []
    for started_ms, times in zip(call.started_ms, noted, strict=False):
        first = round(started_ms / 1000 / FRAME_SECONDS)
        for number, fed in enumerate(times):
            if fed - times[0] < AT_ONCE_SECONDS or first + number >= len(completed):
                continue
            if (sent := call.sent[completed[first + number]]) >= since:
                delays.append(fed - sent)
    return delays


def lateness(sent: Sequence[float], since: float) -> list[float]:
    """How much later than its time each append left."""
    return [at - sent[0] - number * APPEND_SECONDS for number, at in enumerate(sent) if at >= since]


def quantile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """Upper bound of the bucket of a Prometheus histogram below which `share` of the new observations lie."""
    counts = sorted((bound, count - before.get(bound, 0.0)) for bound, count in after.items())
    return next((bound for bound, count in counts if count >= share * counts[-1][1]), 0.0)


def _notes(rows: Iterable[dict[str, Cell]]) -> list[str]:
    notes = [
        "up: a frame's last bytes sent to its hand-over; down: a chunk left the voice to its arrival; one clock, "
        "both ways through the kernel and the callers' own process, whose lateness is stated"
    ]
    for row in rows:
        if row["callers"] == AIM_CALLERS and row["workers"] == "inside":
            worst = max(float(row["up_p99_ms"] or "inf"), float(row["down_p99_ms"] or "inf"))
            met = "met" if worst < AIM_MS else "missed"
            notes.append(f"aim: {AIM_CALLERS} callers with p99 below {AIM_MS:.0f} ms both ways: {met} ({worst:.1f} ms)")
    return notes


async def _question() -> Pcm16:
    """A spoken question and silence, PERIOD_SECONDS long, in the shipped pack's voice."""
    settings = Settings()
    voice = connect.load_synthesizer(find_pack(Path(settings.packs), settings.pack))
    pcm = b""
    async for chunk in voice.speak(HEARD):
        pcm += Resampler(chunk.sample_rate, REALTIME_RATE).feed(chunk.pcm, last=True)
    return pcm.ljust(round(PERIOD_SECONDS * REALTIME_RATE) * 2, b"\0")


async def _measure(place: str, callers: int, seconds: float, frames: Sequence[bytes], cores: Sequence[int]) -> Measured:
    import psutil

    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60.0))
        others = set(cores[:-1]) or set(cores)
        os.sched_setaffinity(0, others)
        stack.callback(os.sched_setaffinity, 0, set(cores))
        workers = await stack.enter_async_context(_process(client, others, "workers")) if place == "wire" else None
        arguments = ["gateway"] if workers is None else ["gateway", workers]
        url = await stack.enter_async_context(_process(client, {cores[-1]}, *arguments))
        process = psutil.Process((await client.get(f"{url}/process")).json())
        first = await _call(url, frames)
        first[0].talk()
        await asyncio.sleep(PERIOD_SECONDS / 2)  # loads what a first turn loads
        first[0].hang_up()
        rss = process.memory_info().rss
        calls = [await _call(url, frames) for _ in range(callers)]
        for caller, _ in calls:
            caller.talk()
            await asyncio.sleep(PERIOD_SECONDS / callers)  # spread over a period, as callers are
        lag, cpu, since = await _lag(client, url), process.cpu_times(), time.monotonic()
        await asyncio.sleep(seconds)
        spent = process.cpu_times()
        lag_after = await _lag(client, url)
        rss = process.memory_info().rss - rss
        for caller, _ in calls:
            caller.hang_up()
        noted: dict[str, Any] = (await client.get(f"{workers or url}/noted")).json()
    told = [call for _, call in calls]
    return Measured(
        up=[delay for call in told for delay in handed_over(call, noted.get(call.session, []), since)],
        down=[came - left for call in told for left, came in call.chunks if left >= since],
        late=[late for call in told for late in lateness(call.sent, since)],
        cpu=spent.user + spent.system - cpu.user - cpu.system,
        rss_bytes=rss,
        lag=quantile(lag, lag_after, 0.99),
        replies=sum(call.replies for call in told),
        errors=[error for call in told for error in call.errors],
    )


async def _call(url: str, frames: Sequence[bytes]) -> tuple[Caller, Call]:
    call = Call()
    address = f"ws{url.removeprefix('http')}/v1/realtime"
    host, port = url.removeprefix("http://").split(":")
    _, caller = await asyncio.get_running_loop().create_connection(
        lambda: Caller(address, frames, call), host, int(port)
    )
    async with asyncio.timeout(START_SECONDS):
        await caller.opened
    return caller, call


@contextlib.asynccontextmanager
async def _process(client: httpx.AsyncClient, cores: set[int], role: str, *arguments: str) -> AsyncIterator[str]:
    """A process of `gateway_host` on some cores; gives its URL. Raises WorkerUnavailable."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.bench.gateway_host", role, str(port), *arguments
    )
    try:
        os.sched_setaffinity(process.pid, cores)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await client.get(f"{url}/process")
                break
            if process.returncode is not None or time.monotonic() > deadline:
                raise WorkerUnavailable(f"the bench's {role} process did not become ready; its log is above")
            await asyncio.sleep(0.1)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _lag(client: httpx.AsyncClient, url: str) -> dict[float, float]:
    """The buckets of the gateway's loop lag."""
    buckets = {}
    for line in (await client.get(f"{url}/metrics")).text.splitlines():
        if line.startswith("parley_loop_lag_seconds_bucket"):
            bound, count = line.partition('le="')[2].split('"} ')
            buckets[float(bound)] = float(count)
    return buckets
