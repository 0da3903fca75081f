"""What a CTC judge is made of: sound to features, features to letters, letters to text. Knows no data and no training.

A network of its own rather than a Wav2Vec2ForCTC: that learns its features from samples, which takes a hundred times
the speech and the time. CTC (Graves and others, 2006), since it writes what it hears sound by sound: without a language
model inside, it does not turn half a word into a likely one.

Shapes: B clips, M mel bands, T frames of 10 ms, S states of STRIDE frames, L letters and the blank, which is 0.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from app.audio import HEARING_RATE, Pcm16, to_waveform

MELS = 80
STRIDE = 3
"""33 states a second: nobody says more letters."""
BLANK = 0
SHORTEST = HEARING_RATE // 10


class JudgeNetwork(nn.Module):
    """A time-delay network: each layer hears states that are further apart, half a second around each one in the end.

    On one core a step takes a quarter of what recurrent layers of that size take.
    """

    def __init__(self, letters: int, width: int, layers: int, dropout: float = 0.0) -> None:
        """`letters` without the blank; `width` of each layer."""
        super().__init__()
        self.hear = nn.Conv1d(MELS, width, 5, stride=STRIDE, padding=2)
        self.layers = nn.ModuleList(_Layer(width, 2 ** (number // 2), dropout) for number in range(layers))
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, letters + 1)

    def forward(self, mels: Tensor) -> Tensor:
        """[B, M, T] to log-probabilities [B, S, L]."""
        states = self.hear(mels).transpose(1, 2)
        for layer in self.layers:
            states = layer(states)
        return torch.as_tensor(self.write(self.norm(states)).log_softmax(-1))


class _Layer(nn.Module):
    """Adds to each state what it makes of it and of those `far` before and behind it."""

    def __init__(self, width: int, far: int, dropout: float) -> None:
        super().__init__()
        self.far = far
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(3 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """[B, S, W] to the same."""
        length, around = states.shape[1], functional.pad(self.norm(states), (0, 0, self.far, self.far))
        near = [around[:, place : place + length] for place in (0, self.far, 2 * self.far)]
        return torch.as_tensor(states + self.drop(functional.gelu(self.mix(torch.cat(near, -1)))))


def states(frames: int) -> int:
    """How many states come of so many frames."""
    return -(-frames // STRIDE)


def features(pcm: Pcm16) -> NDArray[np.float32]:
    """[M, T] of a clip at HEARING_RATE, rounded to half precision, in which training keeps them."""
    waveform = to_waveform(pcm)
    waveform = np.pad(waveform, (0, max(0, SHORTEST - len(waveform))))
    return np.asarray(_extractor()(waveform).astype(np.float16), dtype=np.float32)


def text_of(logs: Tensor, letters: str) -> str:
    """The likeliest letter of each state [S, L], repeated ones and blanks left out."""
    written = [letters[one - 1] for one, _ in groupby(logs.argmax(-1).tolist()) if one != BLANK]
    return " ".join("".join(written).split())


@torch.no_grad()
def heard(network: JudgeNetwork, mel: NDArray[np.float32], letters: str) -> str:
    """The text of one clip [M, T], alone, so that no other one's padding is heard with it."""
    device = next(network.parameters()).device
    return text_of(network(torch.from_numpy(mel)[None].to(device))[0], letters)


def targets(texts: Sequence[str], letters: str) -> tuple[Tensor, Tensor]:
    """All texts' letters as numbers one behind the other, and the length of each. Raises ValueError for others."""
    numbers = [letters.index(one) + 1 for text in texts for one in text]
    return torch.tensor(numbers, dtype=torch.long), torch.tensor([len(text) for text in texts], dtype=torch.long)


@functools.cache
def _extractor() -> Any:
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=MELS)
