"""Durations of phones to their frames. Knows no network; shared by the voice engine and its training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def frame_positions(durations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Frames of each phone [P] -> phone of each frame [T] and where in it the frame stands [T, 4].

    The four: share of the phone before, share after, frames since its beginning (to 20, in 20ths), its frames in 20ths.
    """
    counts = np.asarray(durations, np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    since = np.arange(len(owner)) - starts[owner]
    length = counts[owner]
    columns = [(since + 0.5) / length, (length - since - 0.5) / length, np.minimum(since, 20) / 20, length / 20]
    return owner, np.stack(columns, axis=-1).astype(np.float32)
