"""Strings that end a reply, found wherever its pieces are cut."""

from __future__ import annotations

import random

import pytest

from app.workers.stop_strings import StopStrings


@pytest.mark.parametrize("seed", range(10))
def test_stop_strings_are_found_across_pieces(seed: int) -> None:
    text, stop = "one two three two one", ["three", "tw0"]
    rng = random.Random(seed)
    stops, said = StopStrings(stop), ""
    while text:
        size = rng.randint(1, 4)
        said += stops.feed(text[:size])
        text = text[size:]
    assert (said, stops.hit, stops.rest()) == ("one two ", True, "")
