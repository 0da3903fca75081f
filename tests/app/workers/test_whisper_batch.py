"""Shared batches: who goes with whom, in which order, and that no failure spreads. The model is a function."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from app.errors import WorkerError
from app.workers.whisper_batch import CPU, FINAL, INTERIM, Batches, Job, Limits, next_batch

LIMITS = Limits(windows=4, interims=2, frames=1000, gather_seconds=0.0)


@dataclass(frozen=True)
class Piece:
    text: str
    frames: int = 100
    kind: str = "same"


class Model:
    """Gives each text back in capitals; `gate` holds its first batch until the test has filled the queue."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.began = threading.Event()
        self.gate = threading.Event()
        if not held:
            self.gate.set()

    def decode(self, pieces: Sequence[Piece]) -> list[str]:
        self.batches.append([piece.text for piece in pieces])
        self.began.set()
        self.gate.wait()
        if any(piece.text == "bad" for piece in pieces):
            raise WorkerError("a bad window")
        return [piece.text.upper() for piece in pieces]


def batches(model: Model, limits: Limits = LIMITS, callers: int = 1) -> Batches[Piece, str]:
    return Batches(model.decode, limits, lambda: callers)


def job(priority: int, number: int, piece: Piece) -> Job[Piece, str]:
    return Job((priority, number), piece, Future())


def texts(waiting: list[Job[Piece, str]], limits: Limits = LIMITS) -> list[str]:
    return [chosen.window.text for chosen in next_batch(waiting, limits)]


def test_finals_go_first_and_then_the_oldest() -> None:
    waiting = [job(INTERIM, 0, Piece("i0")), job(FINAL, 1, Piece("f1")), job(FINAL, 2, Piece("f2"))]
    assert texts(waiting) == ["f1", "f2"]


def test_an_interim_fills_up_what_finals_leave_of_its_own_limit() -> None:
    waiting = [job(INTERIM, n, Piece(f"i{n}")) for n in range(3)]
    assert texts([*waiting, job(FINAL, 9, Piece("f9"))]) == ["f9", "i0"]
    assert texts(waiting) == ["i0", "i1"]


def test_only_one_kind_shares_a_batch() -> None:
    waiting = [job(FINAL, 0, Piece("a", kind="x")), job(FINAL, 1, Piece("b")), job(FINAL, 2, Piece("c", kind="x"))]
    assert texts(waiting) == ["a", "c"]


def test_frames_limit_a_batch_but_never_to_nothing() -> None:
    assert texts([job(FINAL, n, Piece(str(n), frames=400)) for n in range(4)]) == ["0", "1"]
    assert texts([job(FINAL, n, Piece(str(n), frames=3000)) for n in range(4)]) == ["0"]
    assert texts([job(FINAL, n, Piece(str(n))) for n in range(9)]) == ["0", "1", "2", "3"]
    assert len(next_batch([job(FINAL, n, Piece(str(n), frames=3000)) for n in range(4)], CPU)) == 1


async def test_what_waits_while_a_batch_runs_goes_together() -> None:
    model = Model(held=True)
    queue = batches(model)
    first = queue.submit(Piece("first"), FINAL)
    await asyncio.to_thread(model.began.wait)
    later = [queue.submit(Piece(text), FINAL) for text in ("a", "b", "c")]
    assert queue.waiting == 3
    model.gate.set()
    assert await asyncio.gather(first, *later) == ["FIRST", "A", "B", "C"]
    assert model.batches == [["first"], ["a", "b", "c"]]
    assert (queue.batches, queue.windows, queue.largest, queue.dropped) == (2, 4, 3, 0)


async def test_batch_size_and_queue_depth_are_counted() -> None:
    def counted(name: str) -> float:
        return REGISTRY.get_sample_value(f"parley_{name}_sum", {"stage": "recognizer"}) or 0.0

    model = Model(held=True)
    queue = batches(model)
    before = counted("batch_size"), counted("queue_depth")
    first = queue.submit(Piece("first"), FINAL)
    await asyncio.to_thread(model.began.wait)
    later = [queue.submit(Piece(text), FINAL) for text in ("a", "b", "c")]
    model.gate.set()
    await asyncio.gather(first, *later)
    assert (counted("batch_size"), counted("queue_depth")) == (before[0] + 1 + 3, before[1] + 0 + 0 + 1 + 2)


async def test_a_cancelled_window_is_never_decoded() -> None:
    model = Model(held=True)
    queue = batches(model)
    first = queue.submit(Piece("first"), FINAL)
    await asyncio.to_thread(model.began.wait)
    overtaken = queue.submit(Piece("overtaken"), INTERIM)
    overtaken.cancel()
    await asyncio.sleep(0)  # the event loop passes it on to the thread
    final = queue.submit(Piece("final"), FINAL)
    alone = queue.submit(Piece("alone", kind="other"), INTERIM)
    model.gate.set()
    assert await asyncio.gather(first, final, alone) == ["FIRST", "FINAL", "ALONE"]
    assert model.batches == [["first"], ["final"], ["alone"]]
    assert queue.dropped == 1


async def test_one_bad_window_fails_its_own_caller_only() -> None:
    model = Model(held=True)
    queue = batches(model)
    first = queue.submit(Piece("first"), FINAL)
    await asyncio.to_thread(model.began.wait)
    good, bad = queue.submit(Piece("good"), FINAL), queue.submit(Piece("bad"), FINAL)
    model.gate.set()
    assert await first == "FIRST"
    assert await good == "GOOD"
    with pytest.raises(WorkerError, match="a bad window"):
        await bad
    assert await queue.submit(Piece("again"), FINAL) == "AGAIN"


async def test_an_idle_engine_waits_for_the_other_callers_and_no_longer() -> None:
    model = Model()
    queue = batches(model, Limits(windows=2, interims=2, frames=1000, gather_seconds=600.0), callers=3)
    both = [queue.submit(Piece(text), FINAL) for text in ("a", "b")]
    assert await asyncio.gather(*both) == ["A", "B"]
    assert model.batches == [["a", "b"]]


async def test_a_lone_caller_never_waits() -> None:
    model = Model()
    queue = batches(model, Limits(windows=2, interims=2, frames=1000, gather_seconds=600.0), callers=1)
    assert await queue.submit(Piece("a"), FINAL) == "A"


async def test_closing_fails_what_waits_and_refuses_more() -> None:
    model = Model(held=True)
    queue = batches(model)
    first = queue.submit(Piece("first"), FINAL)
    await asyncio.to_thread(model.began.wait)
    waits = queue.submit(Piece("waits"), FINAL)
    queue.close()
    model.gate.set()
    assert await first == "FIRST"
    with pytest.raises(WorkerError, match="unloaded"):
        await waits
    with pytest.raises(WorkerError, match="unloaded"):
        queue.submit(Piece("late"), FINAL)
