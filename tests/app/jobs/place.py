"""A service with jobs: scripted workers, the tiny chat model as a base, dialogues to learn; and the stock client."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from openai import AsyncOpenAI

from app.access import Access
from app.gateway import create_app
from app.jobs.service import Jobs
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.finetune.tiny_chat import SAID, write_base, write_data
from tests.packs import SCRIPTED
from tests.serving import serving

FINAL = ("succeeded", "failed", "cancelled")
SHORT = {
    "training.steps": 8, "training.evaluate_every": 4, "training.save_every": 4, "training.log_every": 2,
    "batch_size": 2, "export.form": "adapter",
}  # fmt: skip
LONG = SHORT | {"training.steps": 100_000}
"""It is never waited for."""


@dataclass(frozen=True)
class Place:
    """Folders of a service."""

    folder: Path

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    @property
    def packs(self) -> Path:
        return self.folder / "packs"

    @property
    def datasets(self) -> Path:
        return self.folder / "datasets"

    def app(self, *, access: Access | None = None, **options: Any) -> FastAPI:
        jobs = Jobs(self.jobs, packs=self.packs, datasets=self.datasets, reports=self.folder / "reports", **options)
        workers = Workers(ScriptedRecognizer([]), ScriptedLanguage([]), ScriptedSynthesizer())
        return create_app(SCRIPTED, workers, access=access, jobs=jobs)

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[AsyncOpenAI]:
        """The stock client of a running service."""
        async with serving(self.app(**options)) as url, connected(url) as client:
            yield client


@asynccontextmanager
async def connected(url: str, key: str = "unused") -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield client


def made(folder: Path, base: Path) -> Place:
    """Folders with the base and a data set of dialogues, `dataset:de`."""
    place = Place(folder)
    place.packs.mkdir(parents=True)
    shutil.copytree(base, place.jobs / "bases" / "tiny")
    write_data(place.datasets / "de")
    return place


def tiny_base(folder: Path) -> Path:
    """The base, made once."""
    return write_base(folder / "base")


def chats(more: str = "") -> bytes:
    """A JSONL as OpenAI's chat models learn from; `more` ends what the user says."""
    rows = [
        {"messages": [{"role": "user", "content": said + more}, {"role": "assistant", "content": answer}]}
        for said, answer in SAID.items()
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def tuning(**changes: Any) -> Any:
    """`method` of a short training, changed."""
    return {"type": "language", "language": {"configuration": "language_tiny", "hyperparameters": SHORT | changes}}


LONG_TUNING: Any = {"type": "language", "language": {"configuration": "language_tiny", "hyperparameters": LONG}}


async def until(client: AsyncOpenAI, job: str, *statuses: str, seconds: float = 900) -> Any:
    """The job, once it has one of the statuses; a final one that was not asked for is shown."""
    async with asyncio.timeout(seconds):
        while True:
            now: Any = await client.fine_tuning.jobs.retrieve(job)
            if now.status in statuses:
                return now
            assert now.status not in FINAL, now
            await asyncio.sleep(0.05)


async def until_measured(client: AsyncOpenAI, job: str, step: int) -> None:
    """Waits until a step has been measured."""
    async with asyncio.timeout(900):
        while True:
            rows = await measured(client, job)
            if rows and rows[-1]["step"] >= step:
                return
            assert (now := await client.fine_tuning.jobs.retrieve(job)).status not in FINAL, now
            await asyncio.sleep(0.05)


async def measured(client: AsyncOpenAI, job: str) -> list[dict[str, Any]]:
    """What is in the job's metrics."""
    answer: Any = await client.get(f"/fine_tuning/jobs/{job}/metrics", cast_to=object)
    rows: list[dict[str, Any]] = answer["data"]
    return rows
