"""The degradation ladder, as a table."""

from __future__ import annotations

import pytest

from finetune.joint.ladder import Limits, Measured, Rung, choose, cost, show

GB = 10**9
MEASURED = Measured(
    joint_memory=8 * GB, alone_memory=3 * GB, joint_seconds=3.0, separate_seconds=1.0, caching_seconds=50.0
)


@pytest.mark.parametrize(
    ("memory", "seconds", "rung"),
    [
        (0, 0, "full"),
        (8 * GB, 300, "full"),
        (8 * GB, 299, "every"),  # 25 of 100 steps with edges: 150 s
        (8 * GB, 150, "every"),
        (8 * GB, 149, "staged"),  # cached takes 150 s too
        (7 * GB, 300, "cached"),
        (7 * GB, 150, "cached"),
        (7 * GB, 149, "staged"),
        (3 * GB, 0, "cached"),
        (2 * GB, 0, "staged"),
        (2 * GB, 1, "staged"),
    ],
)
def test_the_first_rung_that_fits(memory: int, seconds: float, rung: Rung) -> None:
    choice = choose(MEASURED, Limits(memory, seconds, steps=100))
    assert choice.rung == rung
    assert (choice.memory, choice.seconds) == cost(rung, MEASURED, Limits(memory, seconds, steps=100))


def test_the_reasons_say_what_was_passed_over_and_by_how_much() -> None:
    choice = choose(MEASURED, Limits(4 * GB, 120, steps=100))
    assert choice.reasons == (
        "full: takes 8.00 GB where there are 4.00 and 5.0 minutes where there are 2.0",
        "every: takes 8.00 GB where there are 4.00 and 2.5 minutes where there are 2.0",
        "cached: takes 2.5 minutes where there are 2.0",
        "staged: fits",
    )
    assert show(choice).splitlines()[0] == "rung       staged, 3.00 GB and 1.7 minutes of steps"
    assert choose(MEASURED, Limits(GB, 0, steps=1)).reasons[-1] == "staged: taken all the same, there is no lower one"


@pytest.mark.parametrize("rung", ["full", "every", "cached", "staged"])
def test_a_rung_can_be_forced(rung: Rung) -> None:
    choice = choose(MEASURED, Limits(GB, 0, steps=10), forced=rung)
    assert choice.rung == rung
    (reason,) = choice.reasons
    assert reason.startswith(f"{rung}: asked for, though it takes ")
    assert choose(MEASURED, Limits(0, 0, steps=10), forced=rung).reasons == (f"{rung}: asked for",)


def test_every_kth_step_counts_the_first_of_each_k() -> None:
    assert cost("every", MEASURED, Limits(0, 0, steps=9, every=4))[1] == 3 * 3.0 + 6 * 1.0
