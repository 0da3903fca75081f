"""/v1/fine_tuning/jobs as OpenAI's clients know it, with our methods. Operators' alone; starts no process.

Ours beside OpenAI's: method types recognizer, language, synthesizer and joint, `dry_run`, the configuration's name,
`progress`, `run_folder` and `exports` of a job, and the routes /metrics, /logs and /fine_tuning/datasets.
"""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from app.errors import BadRequest, JobsUnavailable
from app.jobs import progress
from app.jobs.methods import DATASET, METHODS, Places, check_model, configuration_of, dataset_of, python_of
from app.jobs.overrides import AUTO, OPENAI, check_hyperparameters
from app.jobs.process import LOG, readable
from app.jobs.store import Event, Job, Store, new_id, now
from app.rest import api_router

TRAINING = ("torch", "transformers", "peft", "accelerate", "yaml")
GPU = Path("/dev/nvidiactl")
MOST_LOG = 1 << 20  # bytes that are sent of a log, its end
Limit = Annotated[int, Query(ge=1, le=1000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tuning(_Strict):
    """What a method may be told."""

    hyperparameters: dict[str, Any] = {}
    configuration: str | None = None
    """Ours: a name in finetune/configs, `language_tiny`."""


class MethodBody(_Strict):
    """`method` of a request."""

    type: Literal["supervised", "recognizer", "language", "synthesizer", "joint"]
    supervised: Tuning | None = None
    recognizer: Tuning | None = None
    language: Tuning | None = None
    synthesizer: Tuning | None = None
    joint: Tuning | None = None

    def tuning(self) -> Tuning:
        """That of its type. Raises BadRequest where another one is given."""
        for name in METHODS:
            if name != self.type and getattr(self, name) is not None:
                raise BadRequest(f"method.{name}: got it with type {self.type!r}", param=f"method.{name}")
        found: Tuning | None = getattr(self, self.type)
        return found or Tuning()


class JobBody(_Strict):
    """What POST /v1/fine_tuning/jobs takes."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    training_file: Annotated[str, Field(min_length=1, max_length=200)]
    validation_file: Annotated[str | None, Field(max_length=200)] = None
    suffix: Annotated[str | None, Field(max_length=64, pattern=r"^[\w.-]+$")] = None
    seed: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None
    method: MethodBody = MethodBody(type="supervised")
    hyperparameters: dict[str, Any] | None = None
    """Where OpenAI's older clients put them."""
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None, Field(max_length=16)
    ] = None
    integrations: Annotated[list[Any] | None, Field(max_length=0)] = None
    dry_run: bool = False


def job_routes(
    store: Store, places: Places, wake: Callable[[], None], *, training: Sequence[str] = TRAINING
) -> APIRouter:
    """The routes. `wake` is called when there is something to do; `training` are the libraries that recipes need."""
    router = api_router()

    @router.post("/fine_tuning/jobs")
    def create(body: JobBody) -> dict[str, Any]:
        if missing := [name for name in training if importlib.util.find_spec(name) is None]:
            raise JobsUnavailable(
                f"this service cannot train: {', '.join(missing)} missing; `make install` brings them"
            )
        tuning = body.method.tuning()
        given = {**(body.hyperparameters or {}), **tuning.hyperparameters}
        method = METHODS[body.method.type]
        check_hyperparameters(places, method, given)
        configuration = configuration_of(places, method, tuning.configuration, GPU.exists())
        if training:
            python_of(places.configs / f"{configuration}.yaml")
        check_model(places, method, body.model)
        if body.training_file.startswith(DATASET):
            for part in method.parts:
                if f"{method.section(part)}data" not in given:
                    dataset_of(places, body.training_file, part.manifest)
            if body.validation_file:
                raise BadRequest("the splits of a data set say which rows are dev", param="validation_file")
        for name in ("training_file", "validation_file"):
            if (reference := getattr(body, name)) and not reference.startswith(DATASET):
                _check_file(store, reference, name)
        job = Job(
            id=new_id("ftjob"), created_at=now(), status="validating_files", model=body.model, method=body.method.type,
            configuration=configuration, hyperparameters=given, training_file=body.training_file,
            validation_file=body.validation_file, suffix=body.suffix, dry_run=body.dry_run,
            seed=secrets.randbelow(2**31) if body.seed is None else body.seed, job_metadata=body.metadata or {},
            result_files=[],
        )  # fmt: skip
        store.add(job)
        store.note(job.id, "The job is created; its data are looked at")
        wake()
        return shown(job, places)

    @router.get("/fine_tuning/jobs")
    def list_jobs(request: Request, after: str = "", limit: Limit = 20) -> dict[str, Any]:
        if not store.begun:
            return _listed([], False)
        asked = {
            key.removeprefix("metadata[").removesuffix("]"): value
            for key, value in request.query_params.items()
            if key.startswith("metadata[")
        }
        rows, more = store.jobs(after, limit, asked)
        return _listed([shown(row, places) for row in rows], more)

    @router.get("/fine_tuning/datasets")
    def datasets() -> dict[str, Any]:
        return _listed([{"id": name, "object": "dataset", "manifests": has} for name, has in places.listed()], False)

    @router.get("/fine_tuning/jobs/{job_id}")
    def get_job(job_id: str) -> dict[str, Any]:
        return shown(store.job(job_id), places)

    @router.post("/fine_tuning/jobs/{job_id}/cancel")
    def cancel(job_id: str) -> dict[str, Any]:
        return moved(job_id, "cancelled", "The job was cancelled", finished_at=now(), estimated_finish=None)

    @router.post("/fine_tuning/jobs/{job_id}/pause")
    def pause(job_id: str) -> dict[str, Any]:
        return moved(job_id, "paused", "The job was paused", estimated_finish=None)

    @router.post("/fine_tuning/jobs/{job_id}/resume")
    def resume(job_id: str) -> dict[str, Any]:
        job = store.job(job_id)
        if job.status != "paused":
            raise _wrong_status(job, "resumed", "paused")
        return moved(job_id, "queued" if job.overrides is not None else "validating_files", "The job was resumed")

    def moved(job_id: str, to: str, message: str, **values: Any) -> dict[str, Any]:
        store.job(job_id)
        if not store.move(job_id, to, message, **values):
            raise _wrong_status(store.job(job_id), to, "one that is not over")
        wake()
        return shown(store.job(job_id), places)

    @router.get("/fine_tuning/jobs/{job_id}/events")
    def events(
        job_id: str, after: str = "", limit: Limit = 20, type: Literal["", "message", "metrics"] = ""
    ) -> dict[str, Any]:
        rows, more = store.events(job_id, after, limit, type)
        return _listed([_event(row) for row in rows], more)

    @router.get("/fine_tuning/jobs/{job_id}/checkpoints")
    def checkpoints(job_id: str, after: str = "", limit: Limit = 10) -> dict[str, Any]:
        job = store.job(job_id)
        data = [_checkpoint(job, one) for one in progress.checkpoints(places.run(job_id))]
        if after:
            data = data[[one["id"] for one in data].index(after) + 1 :] if after in {one["id"] for one in data} else []
        return _listed(data[:limit], len(data) > limit)

    @router.get("/fine_tuning/jobs/{job_id}/metrics")
    def metrics(job_id: str) -> dict[str, Any]:
        store.job(job_id)
        return _listed(progress.rows(places.run(job_id)), False)

    @router.get("/fine_tuning/jobs/{job_id}/logs", response_class=PlainTextResponse)
    def logs(job_id: str) -> PlainTextResponse:
        store.job(job_id)
        path = places.job(job_id) / LOG
        if not path.is_file():
            return PlainTextResponse("")
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_LOG))
            return PlainTextResponse(readable(file.read()))

    return router


def shown(job: Job, places: Places) -> dict[str, Any]:
    """A job as clients see it."""
    tuning = {"hyperparameters": job.hyperparameters, "configuration": job.configuration}
    run = places.run(job.id)
    measured = progress.latest(run) if job.status in ("running", "paused", "queued") else None
    exports = places.exports(job.id, METHODS[job.method]) if job.fine_tuned_model else {}
    return {
        "id": job.id, "object": "fine_tuning.job", "created_at": job.created_at, "status": job.status,
        "model": job.model, "fine_tuned_model": job.fine_tuned_model, "training_file": job.training_file,
        "validation_file": job.validation_file, "seed": job.seed, "finished_at": job.finished_at,
        "estimated_finish": job.estimated_finish, "error": job.error, "result_files": job.result_files,
        "method": {"type": job.method, job.method: tuning}, "metadata": job.job_metadata, "suffix": job.suffix,
        "hyperparameters": {key: job.hyperparameters.get(key, AUTO) for key in OPENAI},
        "organization_id": "parley", "trained_tokens": None, "integrations": [], "dry_run": job.dry_run,
        "report": job.report, "run_folder": str(run), "device": job.device,
        "exports": {stage: str(folder) for stage, folder in exports.items()}, "progress": measured,
    }  # fmt: skip


def _check_file(store: Store, reference: str, param: str) -> None:
    """Raises BadRequest for what is no uploaded file: a path of the server above all, NotFound for an unknown one."""
    if not reference.startswith("file-") or "/" in reference:
        raise BadRequest(
            f"{param}: got {reference!r}, expected the id of an uploaded file, or dataset:NAME", param=param
        )
    if (file := store.file(reference)).purpose != "fine-tune":
        raise BadRequest(f"{param}: {reference} is for {file.purpose}, expected fine-tune", param=param)


def _wrong_status(job: Job, to: str, expected: str) -> BadRequest:
    return BadRequest(
        f"job {job.id} is {job.status} and cannot be {to}, expected {expected}", code="invalid_job_status"
    )


def _listed(data: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    return {"object": "list", "data": data, "has_more": more}


def _event(row: Event) -> dict[str, Any]:
    return {
        "id": row.id, "object": "fine_tuning.job.event", "created_at": row.created_at, "level": row.level,
        "message": row.message, "type": row.type, "data": row.data or {},
    }  # fmt: skip


def _checkpoint(job: Job, one: progress.Checkpoint) -> dict[str, Any]:
    where = f"{one.stage.replace('/', '-')}-{one.step}" if one.stage else str(one.step)
    return {
        "id": f"ftckpt-{job.id.removeprefix('ftjob-')}-{where}", "object": "fine_tuning.job.checkpoint",
        "created_at": int(one.path.stat().st_mtime), "fine_tuning_job_id": job.id, "step_number": one.step,
        "fine_tuned_model_checkpoint": f"ft:{job.model}:{job.suffix or ''}:{job.id}:step-{where}",
        "metrics": one.metrics,
    }  # fmt: skip
