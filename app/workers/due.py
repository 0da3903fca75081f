"""Threads that do the most urgent work first. Knows nothing of the work."""

from __future__ import annotations

import itertools
import math
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeAlias, TypeVar

T = TypeVar("T")
Job: TypeAlias = tuple[float, int, "Future[T] | None", Callable[[], T] | None]
"""Due, order; without work: the end."""


class DueQueue(Generic[T]):
    """Work with the time at which its result is needed; what is due earliest is done first, equals in order."""

    def __init__(self, threads: int, name: str) -> None:
        """`threads` pieces of work are done at once."""
        self._order = itertools.count()
        self._jobs: queue.PriorityQueue[Job[T]] = queue.PriorityQueue()
        for number in range(threads):
            threading.Thread(target=_work, args=(self._jobs,), name=f"{name}-{number}", daemon=True).start()
        # The threads hold the jobs and not this queue: whoever drops it, for instance with its pack, ends them.
        weakref.finalize(self, self._jobs.put, (math.inf, next(self._order), None, None))

    def submit(self, due: float, work: Callable[[], T]) -> Future[T]:
        """Queues work; `due` is in seconds of any one clock. Cancelling the result before its turn takes it out."""
        result: Future[T] = Future()
        self._jobs.put((due, next(self._order), result, work))
        return result


def _work(jobs: queue.PriorityQueue[Job[Any]]) -> None:
    while True:
        due, order, result, work = jobs.get()
        if result is None or work is None:
            jobs.put((due, order, None, None))  # for the next thread
            return
        if not result.set_running_or_notify_cancel():
            continue
        try:
            result.set_result(work())
        except BaseException as error:  # the thread serves everyone: it must outlive any one piece of work
            result.set_exception(error)
        del result, work  # or they, and the model that they hold, live until the next piece of work
