"""The chain edge: text -> voice -> log-mel -> recognizer -> the text again (Tjandra et al. 2017, speech chain).

The voice learns to be understood, and the recognizer learns from text alone. Knows no schedule and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from app.workers.whisper_windows import SHORTEST_SAMPLES
from finetune.joint.log_mel import LogMel, padded, resampled
from finetune.recipes.recognizer_model import Network
from finetune.recipes.recognizer_rows import IGNORED, Target


class Voice(Protocol):
    """A voice in training."""

    @property
    def rate(self) -> int:
        """Hz of its waveforms."""

    def speak(self, texts: Sequence[str], added: Sequence[Tensor] | None = None) -> list[Tensor]:
        """A waveform [N] in -1..1 of each text, differentiable in the voice's weights.

        `added`, where there is one, is added to the text encoder's input, [symbols, width] of each text.
        """

    def symbols(self, text: str) -> list[tuple[int, int]]:
        """Of each symbol that the text encoder reads: the bytes [begin, end) of the text that it stands for."""


def chain_loss(
    network: Network,
    log_mel: LogMel,
    waveforms: Sequence[Tensor],
    rate: int,
    targets: Sequence[Target],
    frames: Callable[[int], int],
) -> tuple[Tensor, int]:
    """Summed cross-entropy of the texts under what the recognizer hears of the waveforms [N], and how many tokens.

    `frames` says how many frames the encoder sees of a batch whose longest clip has so many
    (recognizer_clips.padded_frames). The waveforms come through the edge's crossing.
    """
    heard = []
    for waveform in waveforms:
        audio = resampled(waveform, rate)
        heard.append(log_mel(functional.pad(audio, (0, max(0, SHORTEST_SAMPLES - len(audio))))))
    features = padded(heard, frames(max(one.shape[1] for one in heard)))
    width = max(len(target.given) for target in targets)
    given = torch.tensor([[*one.given, *[0] * (width - len(one.given))] for one in targets])
    wanted = torch.tensor([[*one.expected, *[IGNORED] * (width - len(one.expected))] for one in targets])
    logits = network(features, given.to(features.device)).float()  # [B, L, V]
    summed = functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten().to(logits.device), ignore_index=IGNORED, reduction="sum"
    )
    count = int((wanted != IGNORED).sum())
    return summed, count
