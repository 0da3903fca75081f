"""Urgent work first."""

from __future__ import annotations

import threading

import pytest

from app.workers.due import DueQueue


def test_what_is_due_earliest_is_done_first_and_equals_in_order() -> None:
    queue: DueQueue[None] = DueQueue(1, "test")
    started, go = threading.Event(), threading.Event()
    done: list[str] = []

    def hold() -> None:
        started.set()
        go.wait()

    queue.submit(0.0, hold)
    started.wait()
    late = queue.submit(9.0, lambda: done.append("late"))
    results = [
        queue.submit(due, lambda name=name: done.append(name)) for due, name in ((2.0, "b"), (1.0, "a"), (2.0, "c"))
    ]
    left = queue.submit(1.5, lambda: done.append("left"))
    assert left.cancel()
    go.set()
    for result in (*results, late):
        result.result()
    assert done == ["a", "b", "c", "late"]


def test_a_queue_that_is_dropped_does_its_work_and_ends_its_threads() -> None:
    queue: DueQueue[int] = DueQueue(2, "dropped")
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("dropped-")]
    last = queue.submit(9.0, lambda: 7)
    del queue
    assert last.result(timeout=60) == 7
    for thread in threads:
        thread.join(timeout=60)
    assert len(threads) == 2
    assert not any(thread.is_alive() for thread in threads)


def test_work_that_fails_says_so_and_the_thread_lives_on() -> None:
    queue: DueQueue[int] = DueQueue(1, "test")
    failed = queue.submit(0.0, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result()
    assert queue.submit(0.0, lambda: 7).result() == 7
