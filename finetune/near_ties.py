"""How far a model is from writing what its rounded copy wrote. Knows no model: it is asked for scores."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from torch import Tensor

UNROUNDED = "--resume export.quantization=float32 exports it without"
"""What helps where rounding is to blame."""
WAYS, LOOKS = 20, 4
"""How many tokens are tried at a place, and how many places are looked at for each token of the longest text."""


def behind(
    scores: Callable[[list[int]], Tensor],
    fits: Callable[[list[int]], bool],
    done: Callable[[list[int]], bool],
    ends: Sequence[int],
    longest: int,
) -> float:
    """By how many nats the model's own choice is ahead, at most, on the way to a text that it finds best.

    `scores`: log-probabilities [V] after tokens. `fits`: whether tokens may lead to the text. `done`: whether ended
    tokens are the text. One text can be written in several tokens, so ways are searched, the likeliest first; infinity
    where none is found.
    """
    ways: list[tuple[float, int, list[int]]] = [(0.0, 0, [])]  # behind so far, minus how far, tokens
    for _ in range(LOOKS * longest):
        if not ways:
            break
        worst, _, written = heapq.heappop(ways)
        if written and (written[-1] in ends or len(written) == longest):
            if done(written):
                return worst
            continue
        best = (found := scores(written)).topk(min(WAYS, len(found)))
        for score, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if token in ends or fits([*written, token]):
                further = max(worst, best.values[0].item() - score)
                heapq.heappush(ways, (further, -len(written) - 1, [*written, token]))
    return float("inf")
