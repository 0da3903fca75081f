"""Seats: as many as there are and the core carries, none while draining; drained when all have left or time is over."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import ServiceFull
from app.loop_load import WINDOWS, LoopLoad
from app.seats import Seats


def test_one_too_many_is_refused_and_a_seat_that_is_left_is_free() -> None:
    seats = Seats(1, drain_seconds=60, load=LoopLoad())
    with seats, pytest.raises(ServiceFull, match="All 1 sessions are taken"):
        seats.__enter__()
    with seats:
        assert not seats.draining
        assert not seats.drained


async def test_nobody_sits_down_while_draining_and_it_ends_with_the_last_who_leaves() -> None:
    seats = Seats(2, drain_seconds=60, load=LoopLoad())
    waiting = asyncio.create_task(seats.until_draining())
    with seats:
        seats.drain()
        await waiting
        with pytest.raises(ServiceFull) as refused:
            seats.__enter__()
        assert refused.value.code == "service_draining"
        assert not seats.drained
    assert seats.drained


def test_draining_ends_with_its_time() -> None:
    seats = Seats(2, drain_seconds=0, load=LoopLoad())
    with seats:
        assert not seats.drained
        seats.drain()
        assert seats.drained


def test_a_full_core_takes_nobody_more_until_it_has_room() -> None:
    load = LoopLoad()
    seats = Seats(9, drain_seconds=60, load=load)
    with seats:
        for _ in range(WINDOWS - 1):
            load.note(0.97, 1.0)
        with seats:  # a short while is no reason
            load.note(0.97, 1.0)
        with pytest.raises(ServiceFull, match="1 sessions fill this process's core"):
            seats.__enter__()
        load.note(0.5, 1.0)
        with seats:
            pass
    for _ in range(WINDOWS):
        load.note(1.0, 1.0)
    with seats:  # whatever else fills it, the first caller is heard
        pass


async def test_the_loop_is_watched() -> None:
    noted: asyncio.Queue[tuple[float, float]] = asyncio.Queue()
    load = LoopLoad()
    load.note = lambda *seconds: noted.put_nowait(seconds)  # type: ignore[method-assign]
    watching = asyncio.create_task(load.watch())
    async with asyncio.timeout(60):
        busy_seconds, seconds = await noted.get()
    watching.cancel()
    assert 0 <= busy_seconds <= seconds
