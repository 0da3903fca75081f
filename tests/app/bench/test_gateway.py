"""The arithmetic of the gateway's bench, and one of its callers against a gateway with its workers."""

from __future__ import annotations

import asyncio

import pytest

from app.bench.gateway import Measured, handed_over, lateness, quantile, row_of
from app.bench.gateway_host import HEARD, gateway
from app.bench.gateway_load import APPEND_SECONDS, Call, Caller, completed_by, frames_of
from tests.serving import serving
from tests.sounds import flite, silence


def test_a_frame_waits_for_the_append_that_completes_it() -> None:
    completed = completed_by(100)  # 2 s of audio: 62 frames of 32 ms
    assert len(completed) == 62
    assert completed[0] == 1  # 40 ms are the first that hold 32
    assert completed == sorted(completed)
    assert completed[-1] in (98, 99)


def test_the_way_up_counts_live_frames_of_the_window_alone() -> None:
    sent = [number * APPEND_SECONDS for number in range(100)]
    completed = completed_by(100)
    first = 20  # frames 20.. of the session are the utterance; three of them were kept until the speech was noticed
    times = [sent[completed[22]] + 0.001] * 3
    times += [sent[completed[first + number]] + 0.004 for number in range(3, 10)]
    call = Call(sent=sent, started_ms=[first * 32])
    assert handed_over(call, [times], since=0.0) == pytest.approx([0.004] * 7)
    assert len(handed_over(call, [times], since=sent[completed[26]])) == 4
    assert handed_over(call, [], since=0.0) == []


def test_lateness_and_quantiles() -> None:
    assert lateness([1.0, 1.02, 1.05], since=1.01) == pytest.approx([0.0, 0.01])
    before = {0.001: 10.0, 0.01: 10.0, float("inf"): 10.0}
    after = {0.001: 100.0, 0.01: 109.5, float("inf"): 110.0}
    assert quantile(before, after, 0.5) == 0.001
    assert quantile(before, after, 0.99) == 0.01
    assert quantile(after, after, 0.99) == 0.001  # nothing was observed


def test_a_row_has_the_costs_of_one_caller() -> None:
    measured = Measured([0.001, 0.003], [], [0.0], cpu=1.2, rss_bytes=8 * 2**20, lag=0.002, replies=7, errors=())
    row = row_of("inside", 4, 12.0, measured)
    assert (row["up_p50_ms"], row["down_p99_ms"], row["cpu_percent"], row["cpu_per_caller_percent"]) == (2, "", 10, 2.5)
    assert (row["rss_per_caller_mib"], row["loop_lag_p99_ms"], row["replies"], row["errors"]) == (2, 2, 7, 0)


async def test_a_caller_is_heard_and_answered() -> None:
    frames = frames_of(flite(HEARD) + silence(10.0))
    call = Call()
    app = gateway()
    async with serving(app) as url:
        address = f"ws{url.removeprefix('http')}/v1/realtime"
        port = int(url.rpartition(":")[2])
        _, caller = await asyncio.get_running_loop().create_connection(
            lambda: Caller(address, frames, call), "127.0.0.1", port
        )
        async with asyncio.timeout(60):
            await caller.opened
            caller.talk()
            while not call.replies:
                await asyncio.sleep(0.05)
        caller.hang_up()
        (noted,) = [route.endpoint() for route in app.routes if getattr(route, "path", "") == "/noted"]
    assert call.errors == []
    assert call.chunks
    assert all(left <= came for left, came in call.chunks)
    delays = handed_over(call, noted[call.session], since=0.0)
    assert len(delays) > 20
    assert min(delays) >= 0.0  # a frame matched with the wrong append would come before it was sent
