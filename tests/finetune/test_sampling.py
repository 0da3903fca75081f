"""Batches by number: every row once an epoch, and the same ones again for the same number."""

from __future__ import annotations

import random

from finetune.sampling import Epochs, bucketed, mixed, packed

LENGTHS = [random.Random(1).randint(1, 50) for _ in range(300)]


def test_epochs_by_number_in_any_order() -> None:
    epochs = Epochs(lambda epoch: [(epoch, i) for i in range(2 + epoch)])
    expected = [(e, (e, i)) for e in range(4) for i in range(2 + e)]
    assert [epochs.find(number) for number in range(14)] == expected
    assert [Epochs(lambda e: [(e, i) for i in range(2 + e)]).find(n) for n in (13, 0, 6)] == [
        expected[13], expected[0], expected[6],
    ]  # fmt: skip


def test_buckets_hold_every_row_once_and_rows_of_one_length() -> None:
    batches = bucketed(LENGTHS, 8, random.Random(1))
    assert sorted(i for batch in batches for i in batch) == list(range(300))
    padding = sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches) / sum(LENGTHS)
    assert padding < 1.15
    assert batches != bucketed(LENGTHS, 8, random.Random(2))


def test_packed_rows_are_full_and_never_too_long() -> None:
    rows = packed([*LENGTHS, 400], 100, random.Random(1))
    assert sorted(i for row in rows for i in row) == list(range(301))
    assert [300] in rows
    assert all(sum(LENGTHS[i] for i in row) <= 100 for row in rows if row != [300])
    assert sum(LENGTHS) / (100 * (len(rows) - 1)) > 0.93


def test_rehearsal_is_a_share_of_each_epoch() -> None:
    drawn = mixed(60, 10, 0.25, random.Random(1))
    assert drawn[:60] == list(range(60))
    assert len(drawn) == 80
    assert {i - 60 for i in drawn[60:]} == set(range(10))
    assert mixed(3, 0, 0.5, random.Random(1)) == mixed(3, 9, 0.0, random.Random(1)) == [0, 1, 2]
