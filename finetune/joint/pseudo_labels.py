"""What a recognizer hears in recordings without a text, and how sure it is of that. Knows no voice and no files.

Pseudo-labels as in Kahn et al. 2020, "Self-training for end-to-end speech recognition" (arXiv 1909.09116).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from app.workers.whisper_windows import Window
from finetune.joint.hypotheses import likeliest, log_probabilities, scores, together
from finetune.recipes.recognizer_model import Network


@dataclass(frozen=True, slots=True)
class Label:
    """Of one window."""

    tokens: tuple[int, ...] = ()
    """Of the text."""
    confidence: float = 0.0
    """Mean natural logarithm of the tokens' probabilities, the end's among them: 0 is certain."""


@torch.no_grad()
def labels(
    network: Network, windows: Sequence[Window], prompts: Sequence[Sequence[int]], rows: int, end: int
) -> list[Label]:
    """One a window, heard as it is served, `rows` of one kind at once; `prompts` are of one length.

    Without tokens where nobody speaks, and where the decoder had to be stopped: it repeats itself, and is sure of it.
    """
    found = [Label() for _ in windows]
    training, device = network.training, next(network.parameters()).device
    network.eval()
    for some in together(windows, rows):
        given = [prompts[i] for i in some]
        texts = likeliest(network, [windows[i] for i in some], given, rows, end)
        mels = torch.from_numpy(np.stack([windows[i].features for i in some])).to(device)
        summed = log_probabilities(scores(network, mels, given, texts, end), texts, end)
        for i, text, log in zip(some, texts, summed.tolist(), strict=True):
            if text and len(text) < windows[i].longest:
                found[i] = Label(tuple(text), log / (len(text) + 1))
    network.train(training)
    return found
