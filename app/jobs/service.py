"""What a gateway process has of fine-tuning jobs: the operators' routes, and the runner while the process lives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from fastapi import APIRouter

from app import REPOSITORY
from app.errors import JobsUnavailable
from app.jobs.methods import Places
from app.jobs.rest_files import file_routes
from app.jobs.rest_jobs import TRAINING, job_routes
from app.jobs.rest_packs import pack_routes
from app.jobs.runner import Runner
from app.jobs.store import Store

CONFIGS = REPOSITORY / "finetune" / "configs"
REPORTS = REPOSITORY / "runs" / "evaluate"  # as `parley evaluate` has it


class Jobs:
    """Jobs of one folder; a `with` block looks after them."""

    def __init__(
        self,
        folder: Path,
        *,
        packs: Path,
        datasets: Path,
        database: str = "",
        devices: Sequence[str] = ("",),
        training: Sequence[str] = TRAINING,
        reports: Path = REPORTS,
    ) -> None:
        """`database`: an SQLAlchemy URL, empty: SQLite in the folder. `devices`: see Runner. `training`: libraries."""
        places = Places(folder.absolute(), datasets.absolute(), packs.absolute(), CONFIGS, reports.absolute())
        self._store = Store(places.folder, database)
        self._runner = Runner(self._store, places, devices)
        self.routers: tuple[APIRouter, ...] = (
            job_routes(self._store, places, self._runner.wake, training=training),
            file_routes(self._store, places),
            pack_routes(self._store, places),
        )

    def __enter__(self) -> Jobs:
        self._runner.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._runner.__exit__(kind, error, at)
        self._store.close()


def off_routes() -> APIRouter:
    """The routes of a service without jobs: they say so."""
    router = APIRouter(prefix="/v1", include_in_schema=False)

    @router.api_route("/fine_tuning/{path:path}", methods=["GET", "POST"], response_model=None)
    @router.api_route("/files{path:path}", methods=["GET", "POST", "DELETE"], response_model=None)
    def off(path: str) -> NoReturn:
        raise JobsUnavailable("fine-tuning jobs are off in this service; --jobs FOLDER turns them on")

    return router
