"""The bounded outbox: order, waiting, dropping."""

from __future__ import annotations

import asyncio

import pytest

from app.outbox import Outbox


async def test_entries_come_out_in_order() -> None:
    outbox: Outbox[int] = Outbox(10)
    await outbox.put(1, 2)
    await outbox.put(3)
    assert [await outbox.get() for _ in range(3)] == [1, 2, 3]


async def test_a_full_outbox_makes_the_writer_wait_for_the_reader() -> None:
    outbox: Outbox[int] = Outbox(2)
    await outbox.put(1, 2)
    writing = asyncio.create_task(outbox.put(3))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(writing), 0.01)
    assert await outbox.get() == 1
    await writing
    assert len(outbox) == 2


async def test_dropping_takes_what_is_stale_and_lets_a_writer_in() -> None:
    outbox: Outbox[int] = Outbox(3)
    await outbox.put(1, 2, 3)
    writing = asyncio.create_task(outbox.put(4))
    await asyncio.sleep(0)
    assert await outbox.drop(lambda entry: entry % 2 == 1) == [1, 3]
    await writing
    assert [await outbox.get() for _ in range(2)] == [2, 4]
