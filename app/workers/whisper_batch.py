"""Windows of all callers in shared batches, on a thread of its own. Knows no model, audio or utterance.

Requests share a batch within the time that the batch before them takes: whatever then waits and is of the same kind
goes together. An idle engine begins at once for a lone caller; where other callers speak too it first waits as long as
its limits say.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from app import metrics
from app.errors import WorkerError

FINAL, INTERIM = 0, 1


class Batchable(Protocol):
    """One window to decode."""

    @property
    def kind(self) -> Hashable:
        """Only windows of one kind may share a batch."""

    @property
    def frames(self) -> int:
        """Encoder input, padding included."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be."""

    windows: int
    interims: int
    """Windows in all up to which interim ones are taken."""
    frames: int
    """Of all windows together; one window may have more."""
    gather_seconds: float
    """How long an idle engine waits for company."""


CPU = Limits(windows=4, interims=2, frames=3000, gather_seconds=0.0)
"""A core gains little from more rows, and beyond 30 s in all the encoder's attention no longer fits its cache and every
row costs more. An end of turn waits for the batch under way, so interim batches are kept short."""
CUDA = Limits(windows=16, interims=16, frames=16 * 3000, gather_seconds=0.004)
"""A decoder's step reads all weights, for one row or for 16: on a GPU that reading is most of its time. The wait is
short beside a decode, and a second caller's row in the same batch saves a whole one."""

W = TypeVar("W", bound=Batchable)
H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Job(Generic[W, H]):
    """A window and who waits for it. Jobs of low urgency value go first."""

    urgency: tuple[int, int]
    """(FINAL or INTERIM, order of arrival)."""
    window: W
    result: Future[H]


def next_batch(waiting: Sequence[Job[W, H]], limits: Limits) -> list[Job[W, H]]:
    """The most urgent job and those of its kind that fit beside it, finals first, then by age."""
    ordered = sorted(waiting, key=lambda job: job.urgency)
    kind = ordered[0].window.kind
    room = max(1, limits.frames // ordered[0].window.frames)
    batch: list[Job[W, H]] = []
    for job in ordered:
        most = limits.windows if job.urgency[0] == FINAL else limits.interims
        if job.window.kind == kind and len(batch) < min(room, most):
            batch.append(job)
    return batch


class Batches(Generic[W, H]):
    """The queue of one model and the thread that works it off."""

    def __init__(self, decode: Callable[[Sequence[W]], list[H]], limits: Limits, callers: Callable[[], int]) -> None:
        """`decode` gives one result a window, in order, and runs on the thread; `callers` tells how many speak now."""
        self._decode = decode
        self._limits = limits
        self._callers = callers
        self._waiting: list[Job[W, H]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._order = itertools.count()
        self.batches = 0
        """Run so far."""
        self.windows = 0
        """Decoded so far."""
        self.largest = 0
        self.dropped = 0
        """Overtaken or aborted before their turn."""
        threading.Thread(target=self._work, name="whisper", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Windows whose turn has not come."""
        return len(self._waiting)

    def check_open(self) -> None:
        """Raises WorkerError once closed."""
        if self._closed:
            raise WorkerError("the recognizer has been unloaded")

    def submit(self, window: W, priority: int) -> asyncio.Future[H]:
        """Queues a window; cancelling the result before its turn takes it out again. Raises WorkerError."""
        result: Future[H] = Future()
        with self._changed:
            self.check_open()
            metrics.QUEUE_DEPTH.labels("recognizer").observe(len(self._waiting))
            self._waiting.append(Job((priority, next(self._order)), window, result))
            self._changed.notify()
        return asyncio.wrap_future(result)

    def close(self) -> None:
        """Ends the thread after the batch under way; what waits fails with WorkerError."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        """The engine's thread."""
        while batch := self._take():
            metrics.BATCH_SIZE.labels("recognizer").observe(len(batch))
            self.batches += 1
            self.windows += len(batch)
            self.largest = max(self.largest, len(batch))
            self._run(batch)

    def _take(self) -> list[Job[W, H]]:
        """The next batch, as soon as there is one; empty once closed."""
        with self._changed:
            if not self._waiting and self._limits.gather_seconds:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                self._gather()
            while not self._closed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                started = []
                for job in next_batch(self._waiting, self._limits) if self._waiting else []:
                    self._waiting.remove(job)
                    if job.result.set_running_or_notify_cancel():
                        started.append(job)
                    else:
                        self.dropped += 1
                if started:
                    return started
            for job in self._waiting:
                if job.result.set_running_or_notify_cancel():
                    job.result.set_exception(WorkerError("the recognizer has been unloaded"))
            self._waiting.clear()
            return []

    def _gather(self) -> None:
        """Waits for company, until the callers are all there or the time is up."""
        end = time.monotonic() + self._limits.gather_seconds
        while len(self._waiting) < min(self._callers(), self._limits.windows) and not self._closed:
            if not self._changed.wait(end - time.monotonic()):
                return

    def _run(self, batch: list[Job[W, H]]) -> None:
        """Decodes; what fails together is tried alone, so that one caller's audio never fails another's."""
        try:
            heard = self._decode([job.window for job in batch])
        except BaseException as error:  # the thread serves everyone: it must outlive any one utterance
            if len(batch) == 1:
                batch[0].result.set_exception(error)
                return
            for job in batch:
                self._run([job])
            return
        for job, result in zip(batch, heard, strict=True):
            job.result.set_result(result)
