"""Jobs from upload to result through REST with the stock client, trained by the real recipe on a tiny model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.app.jobs.place import LONG_TUNING, Place, chats, made, measured, tiny_base, tuning, until, until_measured


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def place(tmp_path: Path, base: Path) -> Place:
    return made(tmp_path, base)


async def test_uploaded_chats_become_a_model(place: Place) -> None:
    async with place.client() as client:
        training = await client.files.create(file=("chats.jsonl", chats()), purpose="fine-tune")
        validation = await client.files.create(file=("dev.jsonl", chats(" bitte")), purpose="fine-tune")
        job: Any = await client.fine_tuning.jobs.create(
            model="tiny", training_file=training.id, validation_file=validation.id, suffix="de", seed=3,
            method=tuning(), metadata={"who": "test"},
        )  # fmt: skip
        assert job.status == "validating_files"
        assert job.hyperparameters.batch_size == 2
        assert job.hyperparameters.n_epochs == "auto"
        done = await until(client, job.id, "succeeded")
        assert done.fine_tuned_model == f"ft:tiny:de:{job.id}"
        assert done.error is None
        assert done.finished_at >= done.created_at
        run = place.jobs / "runs" / job.id / "run"
        assert (run / "export/adapter/adapter_model.safetensors").is_file()
        assert json.loads((run / "facts.json").read_text())["seed"] == 3

        names = {}
        for name in done.result_files:
            file = await client.files.retrieve(name)
            names[file.filename] = (await client.files.content(name)).content
        assert {"facts.json", "metrics.jsonl", "curves.svg", "config.yaml"} <= names.keys()
        assert names["metrics.jsonl"] == (run / "metrics.jsonl").read_bytes()

        events = [event async for event in client.fine_tuning.jobs.list_events(job.id, limit=3)]
        said = [event.message for event in reversed(events) if event.type == "message"]
        assert said == [
            "The job is created; its data are looked at", "The data are ready; the job waits for its turn",
            "Training begins", f"{done.fine_tuned_model} is ready",
        ]  # fmt: skip
        steps = [event.data["step"] for event in reversed(events) if event.type == "metrics" and event.data]
        assert steps == [2, 4, 4, 6, 8, 8]
        checkpoints = [one async for one in client.fine_tuning.jobs.checkpoints.list(job.id)]
        assert [one.step_number for one in checkpoints] in ([4], [8])
        assert checkpoints[0].metrics.train_loss is not None

        assert [one.id async for one in client.fine_tuning.jobs.list(metadata={"who": "test"})] == [job.id]
        assert [one.id async for one in client.fine_tuning.jobs.list(metadata={"who": "else"})] == []
        log: Any = await client.get(f"/fine_tuning/jobs/{job.id}/logs", cast_to=str)
        assert "5 rows, 0 to rehearse" in log


async def test_one_job_at_a_time_pause_and_cancel(place: Place) -> None:
    async with place.client() as client:
        asked: Any = {"model": "tiny", "training_file": "dataset:de", "method": LONG_TUNING}
        first, second = [await client.fine_tuning.jobs.create(**asked) for _ in range(2)]
        await until_measured(client, first.id, 4)
        async with asyncio.timeout(300):  # the runner looks at what is measured once a second
            while not (await client.fine_tuning.jobs.retrieve(first.id)).estimated_finish:
                await asyncio.sleep(0.05)
        assert (await until(client, second.id, "queued")).id == second.id
        page = await client.fine_tuning.jobs.list(limit=1)
        assert page.has_more
        assert [job.id async for job in page] == [second.id, first.id]

        assert str((await client.fine_tuning.jobs.pause(first.id)).status) == "paused"
        await until(client, second.id, "running")  # the device is free
        before = [row["step"] for row in await measured(client, first.id)][-1]
        assert (await client.fine_tuning.jobs.resume(first.id)).status == "queued"
        assert (await client.fine_tuning.jobs.cancel(second.id)).status == "cancelled"
        await until(client, first.id, "running")
        await until_measured(client, first.id, before + 8)
        events = [event.message async for event in client.fine_tuning.jobs.list_events(first.id, limit=1000)]
        assert "Training goes on" in events
        await client.fine_tuning.jobs.cancel(first.id)
        async with asyncio.timeout(300):
            while processes(place):
                await asyncio.sleep(0.05)


def processes(place: Place) -> list[Path]:
    """Of jobs of this place, by /proc."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(place.jobs).encode() in line.read_bytes() and b"finetune" in line.read_bytes():
                found.append(line)
        except OSError:
            continue
    return found
