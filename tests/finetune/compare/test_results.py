"""Which arm a comparison ships: joint where it wins, the control where it loses or ties; the table and the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from finetune.compare import page, results
from finetune.evaluate.rates import Score, rate

SPEAKERS, TEXTS = 10, 8


def cell(arm: str, seed: int, right: int, *, size: str = "small", old: int = 1, wrong: int = 1) -> dict[str, Any]:
    """Of each speaker `right` of TEXTS replies are right, `wrong` words of 3 in each clip, `old` of 3 in old ones."""
    names = [f"speaker-{i}" for i in range(SPEAKERS) for _ in range(TEXTS)]
    return {
        "size": size, "arm": arm, "seed": seed, "seconds": {"recognizer": 40.0, "language": 20.0},
        "clips": [{"speaker": n, "errors": wrong, "count": 3, "slices": {"noise": "some"}} for n in names],
        "old": [{"speaker": n, "errors": old, "count": 3, "slices": {}} for n in names],
        "replies": [
            {"speaker": n, "right": int(i % TEXTS < right + (i // TEXTS) % 2), "nats": 2.0, "tokens": 4}
            for i, n in enumerate(names)
        ],
        "voice": [{"errors": 1, "count": 9} for _ in names], "first_audio_ms": [20.0, 30.0, 40.0], "judge": "a judge",
        "not_measured": [],
    }  # fmt: skip


def grid(right: Mapping[str, tuple[int, ...]], **others: Any) -> list[dict[str, Any]]:
    """A cell for each seed of each arm."""
    return [cell(arm, seed, n, **others) for arm, seeds in right.items() for seed, n in enumerate(seeds, start=1)]


ARMS = ("base", "separate", "shared", "noisy", "joint")
PLAIN = {"base": (0,), "separate": (2, 2, 2), "shared": (4, 4, 4), "noisy": (4, 4, 4)}


def chosen(cells: list[dict[str, Any]], size: str = "small") -> results.Choice:
    found = results.choose(cells, size, ARMS)
    assert found is not None
    return found


def test_joint_ships_where_it_wins() -> None:
    found = chosen(grid({**PLAIN, "joint": (6, 6, 6)}))
    assert found.arm == "joint"
    told = results.sentence([found])
    won = "it beats separate + shared data: +25.0 points [25.0, 25.0] right replies"
    assert told == f"Ship joint (small: {won})."


def test_the_control_ships_where_joint_loses_or_ties() -> None:
    for joint in ((2, 2, 2), (4, 4, 4)):
        found = chosen(grid({**PLAIN, "joint": joint}))
        assert found.arm == "shared"
        assert results.sentence([found]).startswith("Ship separate + shared data (small: joint did not beat ")


def test_one_seed_that_says_otherwise_is_a_tie() -> None:
    assert chosen(grid({**PLAIN, "joint": (7, 7, 3)})).arm == "shared"


def test_joint_has_to_beat_what_ships_without_it_too() -> None:
    assert chosen(grid({**PLAIN, "noisy": (7, 7, 7), "joint": (6, 6, 6)})).arm == "noisy"


def test_joint_may_cost_nothing_else() -> None:
    cells = grid(PLAIN) + grid({"joint": (6, 6, 6)}, old=2)
    found = chosen(cells)
    assert found.arm == "shared"
    assert "WER of the old language +33.3 points" in found.why


def test_the_simplest_arm_ships_where_none_beats_it() -> None:
    assert (
        chosen(grid({"base": (2,), "separate": (2, 2), "shared": (2, 2), "noisy": (2, 2), "joint": (2, 2)})).arm
        == "base"
    )


def test_where_no_reply_is_right_it_says_so() -> None:
    cells = grid({"base": (0,), "shared": (0, 0), "joint": (0, 0)})
    for one in cells:
        one["replies"] = [{**reply, "right": 0} for reply in one["replies"]]
    told = "Ship base (small: no arm has a right reply, so give them more seconds or data)."
    assert results.sentence([chosen(cells)]) == told


def test_sizes_may_have_answers_of_their_own() -> None:
    cells = grid({**PLAIN, "joint": (6, 6, 6)}) + grid({**PLAIN, "joint": (3, 3, 3)}, size="large")
    told = results.sentence([chosen(cells), chosen(cells, "large")])
    assert told.startswith("small data: ship joint (")
    assert "large data: ship separate + shared data (" in told


def test_without_the_control_nothing_is_said() -> None:
    assert results.choose(grid({"joint": (6,)}), "small", ARMS) is None
    assert results.sentence([]).startswith("Nothing can be said yet")


def test_rows_pool_seeds_and_pair_by_speaker() -> None:
    cells = grid({**PLAIN, "joint": (6, 6, 6)})
    table = results.rows(cells, "small", ARMS)
    assert [(row.arm, row.seeds) for row in table] == [("base", (1,)), *((arm, (1, 2, 3)) for arm in ARMS[1:])]
    joint = table[-1].figures["reply_accuracy"]
    assert joint.rate.value == pytest.approx(6.5 / 8)
    assert joint.change is not None
    assert joint.change.value == pytest.approx(0.25)
    assert (joint.rate.n, joint.rate.groups) == (3 * SPEAKERS * TEXTS, SPEAKERS)
    assert table[2].figures["reply_accuracy"].change is None
    assert table[0].figures["reply_accuracy"].change is not None  # the base's one cell, paired with every seed
    worst = table[-1].worst
    assert worst is not None
    assert worst[0].startswith("speaker: speaker-")
    assert table[-1].seconds == 60


def test_where_one_person_speaks_an_item_is_drawn_with_what_it_was_in_all_seeds() -> None:
    once = [Score(i % 2, 1, "anna") for i in range(60)]
    alone, thrice = rate(results.pooled([once])), rate(results.pooled([once] * 3))
    assert thrice.groups == alone.groups == 60
    assert thrice.n == 180
    assert thrice.high - thrice.low == pytest.approx(alone.high - alone.low, abs=0.03)  # not narrower for being thrice
    two = [Score(1, 1, name) for name in ("anna", "ben")]
    assert results.pooled([two, two]) == two * 2


def test_the_table_and_the_page() -> None:
    table = results.rows(grid({**PLAIN, "joint": (6, 6, 6)}), "small", ARMS)
    lines = page.markdown(table).splitlines()
    assert lines[0].startswith(
        "| data | arm | seeds | right replies, % | NLL of the right reply, nats a token | WER, %"
    )
    assert "| small | joint | 3 | 81.2 (+25.0 [25.0, 25.0]) | 0.50 (+0.00 [0.00, 0.00]) |" in lines[-1]
    made = page.page("Ship <it>.", {"base": "x"}, table, ["the old language: none"])
    assert "Ship &lt;it&gt;." in made
    assert "Not measured: the old language: none." in made
    assert made.count("<img ") == 1
    assert page.picture(table).startswith(b"<?xml")
