"""What the jobs' routes refuse, with the right status and sentence; keys of callers and operators. No job runs here."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIStatusError, AsyncOpenAI, NotFoundError, PermissionDeniedError

from app.access import Access
from app.errors import JobsUnavailable, NotFound
from app.gateway import create_app
from app.jobs.store import Job, Store, new_id, now
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.app.jobs.place import Place, connected
from tests.packs import SCRIPTED
from tests.serving import serving

DIALOGUE = '{"id": "1", "language": "de", "turns": [], "source": "", "licence": "", "consent": ""}\n'


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A base that nobody loads, and a data set that nobody reads."""
    made = Place(tmp_path)
    (made.jobs / "bases/tiny").mkdir(parents=True)
    made.packs.mkdir()
    (made.datasets / "de").mkdir(parents=True)
    (made.datasets / "de/dialogues.jsonl").write_text(DIALOGUE)
    return made


@pytest.fixture
async def client(place: Place) -> AsyncIterator[AsyncOpenAI]:
    async with place.client(training=()) as made:
        yield made


def asked(**changes: Any) -> dict[str, Any]:
    return {"model": "tiny", "training_file": "dataset:de", **changes}


def hyper(**values: Any) -> dict[str, Any]:
    return {"method": {"type": "language", "language": {"hyperparameters": values}}}


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"training_file": "/etc/passwd"}, 400, "expected the id of an uploaded file, or dataset:NAME"),
    ({"training_file": "file-../../x"}, 400, "expected the id of an uploaded file"),
    ({"training_file": "file-unknown"}, 404, "there is no file 'file-unknown'"),
    ({"training_file": "dataset:../de"}, 400, "NAME without any path"),
    ({"training_file": "dataset:cy"}, 404, "there is no data set 'cy' with a dialogues.jsonl"),
    ({"method": {"type": "recognizer"}}, 404, "there is no data set 'de' with a manifest.jsonl"),
    ({"validation_file": "file-x"}, 400, "splits of a data set"),
    ({"model": "/models/x"}, 404, "got model '/models/x', expected a pack served here"),
    ({"model": ".."}, 404, "expected a pack served here"),
    ({"model": "app/jobs"}, 404, "expected a pack served here"),
    ({"suffix": "../x"}, 400, "suffix"),
    ({"metadata": {"k": "v" * 513}}, 400, "metadata.k"),
    ({"extra_body": {"unknown": 1}}, 400, "unknown parameter unknown"),
    ({"extra_body": {"integrations": [{"type": "wandb"}]}}, 400, "integrations"),
    ({"method": {"type": "dpo"}}, 400, "method.type"),
    ({"method": {"type": "language", "supervised": {}}}, 400, "method.supervised: got it with type 'language'"),
    ({"method": {"type": "language", "language": {"configuration": "recognizer"}}}, 400, "expected one of lang"),
    (hyper(run="x"), 400, "hyperparameters.run: expected n_epochs, batch_size"),
    (hyper(**{"Base": "x"}), 400, "hyperparameters.Base"),
    (hyper(n_epochs=0), 400, "got 0, expected a number above 0, or auto"),
    (hyper(batch_size=1.5), 400, "got 1.5"),
    (hyper(learning_rate_multiplier=True), 400, "got True"),
    (hyper(**{"noise.confusions": "/etc/passwd"}), 400, "hyperparameters.noise.confusions: got '/etc/passwd'"),
    (hyper(**{"rehearsal.data": ["../x"]}), 400, "dataset:NAME, or a list of such"),
    (hyper(**{"lora.r": {"a": 1}}), 400, "hyperparameters.lora.r"),
]  # fmt: skip


async def test_what_cannot_be_a_job(client: AsyncOpenAI) -> None:
    for changes, status, message in REFUSED:
        with pytest.raises(APIStatusError, match=re.escape(message)) as refused:
            await client.fine_tuning.jobs.create(**asked(**changes))
        assert refused.value.status_code == status
    assert (await client.fine_tuning.jobs.list()).data == []


async def test_unknown_names_and_statuses(client: AsyncOpenAI, place: Place) -> None:
    jobs = client.fine_tuning.jobs
    for asking in (jobs.retrieve, jobs.list_events, jobs.cancel, jobs.pause, jobs.resume, jobs.checkpoints.list):
        with pytest.raises(NotFoundError, match="there is no fine-tuning job 'ftjob-x'"):
            await asking("ftjob-x")
    with pytest.raises(NotFoundError, match="there is no file 'file-x'"):
        await client.files.retrieve("file-x")
    store = Store(place.jobs)
    job = Job(
        id=new_id("ftjob"), created_at=now(), status="succeeded", model="tiny", method="language", configuration="x",
        hyperparameters={}, training_file="dataset:de", seed=1, dry_run=False, job_metadata={}, result_files=[],
    )  # fmt: skip
    store.add(job)
    for asking in (jobs.cancel, jobs.pause):
        with pytest.raises(APIStatusError, match="is succeeded and cannot be") as refused:
            await asking(job.id)
        assert (refused.value.status_code, refused.value.code) == (400, "invalid_job_status")
    with pytest.raises(APIStatusError, match="cannot be resumed, expected paused"):
        await jobs.resume(job.id)
    with pytest.raises(NotFound):
        store.job("ftjob-x")


async def test_files_are_kept_listed_sent_and_deleted(client: AsyncOpenAI, place: Place) -> None:
    made = [await client.files.create(file=(f"{i}.jsonl", b"x" * i), purpose="fine-tune") for i in (1, 2, 3)]
    assert [file.id async for file in client.files.list(limit=2)] == [file.id for file in reversed(made)]
    assert [file.bytes async for file in client.files.list(order="asc", purpose="fine-tune")] == [1, 2, 3]
    assert (await client.files.content(made[1].id)).content == b"xx"
    assert (await client.files.delete(made[1].id)).deleted
    assert len(list((place.jobs / "files").iterdir())) == 2
    large = bytes(27 << 20)  # other uploads may have 25 MB
    assert (await client.files.create(file=("large", large), purpose="fine-tune")).bytes == len(large)
    with pytest.raises(APIStatusError, match="purpose: got 'batch', expected fine-tune"):
        await client.files.create(file=("1", b"x"), purpose="batch")
    assert (await client.files.create(file=("../../x", b"x"), purpose="fine-tune")).filename == "../../x"
    assert not (place.folder / "x").exists()


async def test_operators_keys_are_a_scope_of_their_own(place: Place) -> None:
    access = Access(frozenset({"caller", "both"}), frozenset({"operator", "both"}))
    async with serving(place.app(access=access)) as url, httpx.AsyncClient(base_url=f"{url}/v1") as client:

        async def status(path: str, key: str) -> int:
            return (await client.get(path, headers={"authorization": f"Bearer {key}"} if key else {})).status_code

        for path in ("/fine_tuning/jobs", "/files", "/packs"):
            got = [await status(path, key) for key in ("", "wrong", "caller", "operator", "both")]
            assert got == [401, 401, 403, 200, 200]
        assert [await status("/models", key) for key in ("", "caller", "operator", "both")] == [401, 200, 403, 200]
    async with serving(place.app(access=Access(frozenset({"caller"})))) as url, connected(url, "caller") as stock:
        with pytest.raises(PermissionDeniedError, match="this service has none: --operator-key"):
            await stock.fine_tuning.jobs.list()
    only_operators = place.app(access=Access(operator_keys=frozenset({"operator"})))
    async with serving(only_operators) as url, httpx.AsyncClient(base_url=f"{url}/v1") as client:
        assert [(await client.get(path)).status_code for path in ("/packs", "/models")] == [401, 200]


async def test_a_service_that_cannot_train_says_what_is_missing(place: Place) -> None:
    async with place.client(training=("no_such_library",)) as client:
        with pytest.raises(APIStatusError, match="no_such_library missing; `make install` brings them") as refused:
            await client.fine_tuning.jobs.create(**asked())
    assert refused.value.status_code == 503
    assert refused.value.code == JobsUnavailable.code


async def test_a_service_without_jobs_says_so() -> None:
    workers = Workers(ScriptedRecognizer([]), ScriptedLanguage([]), ScriptedSynthesizer())
    async with serving(create_app(SCRIPTED, workers)) as url, connected(url) as client:
        for asking in (client.files.list, client.fine_tuning.jobs.list):
            with pytest.raises(APIStatusError, match="jobs are off in this service; --jobs FOLDER turns them on"):
                await asking()


async def test_a_database_that_is_not_there(place: Place) -> None:
    url = "postgresql+pg8000://nobody@127.0.0.1:1/none"
    async with place.client(database=url, training=()) as client:
        with pytest.raises(APIStatusError, match="database of fine-tuning jobs cannot be used") as refused:
            await client.fine_tuning.jobs.create(**asked())
    assert refused.value.status_code == 503
