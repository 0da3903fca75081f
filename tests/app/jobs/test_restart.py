"""kill -9 of the whole service in the middle of a job: real processes, two gateways, one of which runs jobs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.supervisor import free_port
from tests.app.jobs.place import LONG_TUNING, Place, connected, made, measured, tiny_base, until, until_measured
from tests.service.test_serve import family

KEY = "an-operators-key"


@asynccontextmanager
async def gateways(place: Place) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """`parley gateway --workers 2` on a free port, without workers of stages; and its supervisor."""
    port, nobody = free_port(), "http://127.0.0.1:1"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "gateway", "--workers", "2", "--port", str(port), "--recognizer", nobody,
        "--language", nobody, "--synthesizer", nobody, "--jobs", str(place.jobs), "--datasets", str(place.datasets),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PARLEY_OPERATOR_KEY": KEY},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(600):
            assert b"gateway is ready" in await process.stdout.readline()
        yield f"http://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(300):
            await process.wait()


def recipes(place: Place) -> list[int]:
    """Processes that train in this place."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = line.read_bytes()
        except OSError:
            continue
        if str(place.jobs).encode() in text and b"finetune\0language" in text:
            found.append(int(line.parent.name))
    return found


async def test_a_job_survives_kill_9_of_the_service_and_never_runs_twice(tmp_path: Path) -> None:
    place = made(tmp_path / "place", tiny_base(tmp_path))
    async with gateways(place) as (url, supervisor), connected(url, KEY) as client:
        job: Any = await client.fine_tuning.jobs.create(model="tiny", training_file="dataset:de", method=LONG_TUNING)
        await until_measured(client, job.id, 12)
        (orphan,) = recipes(place)
        service = [pid for pid in family(supervisor.pid) if pid != orphan]
        for pid in (supervisor.pid, *service):
            os.kill(pid, signal.SIGKILL)
        await supervisor.wait()
        assert recipes(place) == [orphan]  # nobody was there to end it
    async with gateways(place) as (url, supervisor), connected(url, KEY) as client:
        await until(client, job.id, "running")
        (again,) = recipes(place)
        assert again != orphan
        done = (await measured(client, job.id))[-1]["step"]
        await until_measured(client, job.id, done + 8)
        events = [event async for event in client.fine_tuning.jobs.list_events(job.id, limit=1000)]
        said = [event.message for event in reversed(events) if event.type == "message"]
        assert said[-2:] == [
            "The service was started again; the job goes on from its last checkpoint",
            "Training goes on",
        ]
        steps = [event.data["step"] for event in reversed(events) if event.type == "metrics" and event.data]
        assert len(steps) == len({event.id for event in events if event.type == "metrics"})
        assert steps[:4] == [2, 4, 4, 6]  # measured twice, told once
        assert recipes(place) == [again]
        supervisor.terminate()  # an orderly end takes the recipe along, and keeps the job
        await supervisor.wait()
        assert recipes(place) == []
