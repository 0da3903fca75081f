"""SpecAugment: bands and stretches of a spectrogram are masked (Park and others, arXiv 1904.08779). Without its time
warping, which the authors found to matter least.

Shapes: B mel bands, T frames.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

BAND_MASKS, WIDEST_BAND = 2, 27
"""Number, and mel bands of 80: the paper's policy LD."""
TIME_MASKS, LONGEST_STRETCH = 2, 100
"""Number, and frames of 10 ms: the paper's policy LD."""
LARGEST_SHARE = 0.2
"""Of the frames that one mask may take: the paper's p, lower than in LD since callers' utterances are short."""


def spec_augment(features: NDArray[np.float32], *, seed: int, id: str, epoch: int) -> NDArray[np.float32]:
    """Masked copy of [B, T]; masked cells get the mean. The same (seed, id, epoch) masks the same cells."""
    rng = random.Random(f"spec/{seed}/{id}/{epoch}")
    masked = features.copy()
    bands, frames = features.shape
    fill = features.mean()
    for _ in range(BAND_MASKS):
        width = rng.randint(0, min(WIDEST_BAND * bands // 80, bands))
        start = rng.randint(0, bands - width)
        masked[start : start + width] = fill
    for _ in range(TIME_MASKS):
        width = rng.randint(0, min(LONGEST_STRETCH, int(LARGEST_SHARE * frames)))
        start = rng.randint(0, frames - width)
        masked[:, start : start + width] = fill
    return masked
