"""Runs jobs: one thread of one process of the service, which makes processes follow the statuses in the database.

Of all processes that share a jobs folder, the one that holds its lock (flock(2)) runs jobs; when it dies, another one
or the next service takes over, ends what the dead one has left running, and goes on from the checkpoints.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from app import REPOSITORY
from app.errors import ParleyError
from app.jobs import progress
from app.jobs.methods import DATASET, METHODS, Places, python_of
from app.jobs.overrides import overrides_of
from app.jobs.process import Process, end_orphan, reason
from app.jobs.store import ACTIVE, File, Job, Store, new_id, now

log = logging.getLogger("parley.jobs")

POLL_SECONDS = 1.0  # a route wakes the runner of its own process at once
AFTER_FAILURE_SECONDS = 10.0
KEPT_FROM_RECIPES = ("PARLEY_SUPERVISED", "PARLEY_OWN_PORT", "PROMETHEUS_MULTIPROC_DIR", "PARLEY_JOBS_DATABASE")
REPORT_LINES = 90  # a joint dry run says as much of all its stages


@dataclass(slots=True)
class _Running:
    process: Process
    device: str | None
    """None: it makes the data ready."""
    stopped: bool = False
    measured_bytes: int = -1
    told: set[str] = field(default_factory=set)
    """Measurements that are events already."""


class Runner:
    """Open while the service runs."""

    def __init__(self, store: Store, places: Places, devices: Sequence[str] = ("",)) -> None:
        """`devices`: CUDA devices or cpu, one job each; the empty one is training's own choice."""
        self._store = store
        self._places = places
        self._devices = tuple(devices)
        self._running: dict[str, _Running] = {}
        self._wake = threading.Event()
        self._closing = False
        self._lock: int | None = None
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def __enter__(self) -> Runner:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ends the jobs' processes; their jobs go on when the service is there again."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def wake(self) -> None:
        """Something has changed."""
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            try:
                if self._store.begun and self._leads():
                    self._tick()
            except Exception:  # a full disk or a lost database may be there again later
                log.exception("fine-tuning jobs cannot be looked after now")
                self._wake.wait(AFTER_FAILURE_SECONDS)
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
        for running in self._running.values():
            running.process.stop()
        for running in self._running.values():
            running.process.wait()
        if self._lock is not None:
            os.close(self._lock)

    def _leads(self) -> bool:
        """Whether this process runs the jobs; takes over where nobody does."""
        if self._lock is not None:
            return True
        self._places.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._places.folder / "runner.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        try:
            for folder in self._places.runs.glob("*"):
                if end_orphan(folder):
                    log.warning("ended a process of %s, which an earlier service has left running", folder.name)
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
        return True

    def _tick(self) -> None:
        active = {job.id: job for job in self._store.jobs_in(*ACTIVE)}
        for name, running in list(self._running.items()):
            code = running.process.ended()
            if code is not None:
                del self._running[name]
                if not running.stopped:
                    self._conclude(name, running, code)
            elif name not in active:
                running.stopped = True
                running.process.stop()
            elif running.device is not None and not running.stopped:
                if active[name].status == "queued":  # paused and resumed before anybody looked
                    self._store.move(name, "running", device=running.device)
                self._look(name, running)
        for job in self._store.jobs_in("running"):
            if job.id not in self._running:  # of an earlier service, or its end could not be written down
                said = "The service was started again; the job goes on from its last checkpoint"
                self._store.move(job.id, "queued", said, device=None, estimated_finish=None)
        for job in self._store.jobs_in("validating_files", "queued"):
            if job.id in self._running or self._closing:
                continue
            try:
                self._start(job)
            except ParleyError as error:
                self._fail(job.id, error.message, error.code, error.param)
            except OSError as error:
                self._fail(job.id, f"its process cannot be started: {error}", "server_error", None)

    def _start(self, job: Job) -> None:
        """Begins what is next for a job, where there is room."""
        if job.status == "queued":
            taken = {running.device for running in self._running.values()}
            free = [device for device in self._devices if device not in taken]
            if free:
                self._train(job, free[0])
        elif job.training_file.startswith(DATASET):
            self._ready(job)
        elif None not in {running.device for running in self._running.values()}:
            recipe = METHODS[job.method].recipe
            files = [str(self._places.folder / self._store.file(job.training_file).path)]
            if job.validation_file:
                files += ["--validation", str(self._places.folder / self._store.file(job.validation_file).path)]
            data = str(self._places.data(job.id))
            command = [sys.executable, "-m", "app.jobs.prepare", recipe, files[0], data, *files[1:]]
            self._running[job.id] = _Running(self._process(job, command, _environment("")), None)

    def _ready(self, job: Job) -> None:
        """The data are there: what the recipe is to do with them is settled, for good. Raises ParleyError."""
        overrides = overrides_of(self._places, job)
        self._store.move(job.id, "queued", "The data are ready; the job waits for its turn", overrides=overrides)
        self._wake.set()

    def _train(self, job: Job, device: str) -> None:
        recipe = METHODS[job.method].recipe
        configuration = self._places.configs / f"{job.configuration}.yaml"
        command = [
            python_of(configuration),
            "-m",
            "finetune",
            recipe,
            "--config",
            str(configuration),
            *(job.overrides or []),
        ]
        command.append("--dry-run" if job.dry_run else "--resume")
        again = self._places.run(job.id).exists()
        self._running[job.id] = _Running(self._process(job, command, _environment(device)), device)
        where = f" on device {device}" if device else ""
        said = f"Training goes on{where}" if again else f"Training begins{where}"
        self._store.move(job.id, "running", said, device=device)

    def _process(self, job: Job, command: list[str], environment: dict[str, str]) -> Process:
        folder = self._places.job(job.id)
        end_orphan(folder)
        return Process(command, folder, REPOSITORY, environment)

    def _look(self, name: str, running: _Running) -> None:
        """New measurements into events, and when training will end."""
        size = progress.measured_bytes(self._places.run(name))
        if size == running.measured_bytes:
            return
        running.measured_bytes = size
        measured = progress.rows(self._places.run(name))
        events = progress.events_of(measured)
        self._store.measured(name, {key: data for key, data in events.items() if key not in running.told})
        running.told |= events.keys()
        left = progress.seconds_left(measured)
        self._store.change(name, estimated_finish=None if left is None else now() + round(left))

    def _conclude(self, name: str, running: _Running, code: int) -> None:
        """A process has ended by itself."""
        job = self._store.job(name)
        if running.device is not None:
            self._look(name, running)
        if code != 0:
            kind = "training_failed" if running.device is not None else "invalid_training_file"
            param = None if running.device is not None else "training_file"
            self._fail(name, reason(running.process.said(), code), kind, param)
        elif running.device is None:
            try:
                self._ready(job)
            except ParleyError as error:
                self._fail(name, error.message, error.code, error.param)
        else:
            self._succeed(job, running)

    def _succeed(self, job: Job, running: _Running) -> None:
        values: dict[str, Any] = {"finished_at": now(), "estimated_finish": None, "device": None}
        if job.dry_run:
            lines = [line for line in running.process.said().splitlines() if line.strip()]
            report = "\n".join(lines[-REPORT_LINES:])
            self._store.move(
                job.id, "succeeded", "The dry run has said what the job would take", report=report, **values
            )
            return
        files = []
        for path in progress.results(self._places.run(job.id)):
            within = path.relative_to(self._places.folder)
            name = "-".join(path.relative_to(self._places.run(job.id)).parts)
            files.append(
                File(
                    id=new_id("file"), created_at=now(), filename=name, bytes=path.stat().st_size,
                    purpose="fine-tune-results", path=str(within),
                )
            )  # fmt: skip
        self._store.add(*files)
        model = f"ft:{job.model}:{job.suffix or ''}:{job.id}"
        ids = [file.id for file in files]
        self._store.move(job.id, "succeeded", f"{model} is ready", fine_tuned_model=model, result_files=ids, **values)

    def _fail(self, name: str, message: str, code: str, param: str | None) -> None:
        error = {"code": code, "message": message, "param": param}
        values = {"error": error, "finished_at": now(), "estimated_finish": None, "device": None}
        self._store.move(name, "failed", message, **values)


def _environment(device: str) -> dict[str, str]:
    """Of a job's process: no keys of the service, and only the device that is its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in KEPT_FROM_RECIPES and not (name.startswith("PARLEY_") and name.endswith("_KEY"))
    }
    if device:
        kept["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else device
    kept.setdefault("HF_HUB_OFFLINE", "1")  # as the workers: a hub is asked only where the operator says so
    return kept | {"PYTHONUNBUFFERED": "1", "TQDM_MININTERVAL": "5"}  # else bars fill the log
