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
    """Two convolutions, then recurrent layers that hear the whole clip in both directions."""

    def __init__(self, letters: int, width: int, layers: int, dropout: float = 0.0) -> None:
        """`letters` without the blank; `width` of each direction."""
        super().__init__()
        self.near = nn.Conv1d(MELS, width, 5, padding=2)
        self.wide = nn.Conv1d(width, 2 * width, 5, stride=STRIDE, padding=2)
        self.norm = nn.LayerNorm(2 * width)
        self.hear = nn.GRU(2 * width, width, layers, batch_first=True, bidirectional=True, dropout=dropout)
        self.write = nn.Linear(2 * width, letters + 1)

    def forward(self, mels: Tensor) -> Tensor:
        """[B, M, T] to log-probabilities [B, S, L]."""
        states = functional.gelu(self.wide(functional.gelu(self.near(mels)))).transpose(1, 2)
        states, _ = self.hear(self.norm(states))
        return torch.as_tensor(self.write(states).log_softmax(-1))


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
