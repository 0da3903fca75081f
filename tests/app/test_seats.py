"""Seats: as many as there are, none while draining, and drained when all have left or their time is over."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import ServiceFull
from app.seats import Seats


def test_one_too_many_is_refused_and_a_seat_that_is_left_is_free() -> None:
    seats = Seats(1, drain_seconds=60)
    with seats, pytest.raises(ServiceFull, match="All 1 sessions are taken"):
        seats.__enter__()
    with seats:
        assert not seats.draining
        assert not seats.drained


async def test_nobody_sits_down_while_draining_and_it_ends_with_the_last_who_leaves() -> None:
    seats = Seats(2, drain_seconds=60)
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
    seats = Seats(2, drain_seconds=0)
    with seats:
        assert not seats.drained
        seats.drain()
        assert seats.drained
