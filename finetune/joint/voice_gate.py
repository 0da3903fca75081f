"""The reply-to-voice edge: what the language model thinks of each word of its reply, given to the voice in training.

The gate begins as nothing and is no part of the voice: what is exported is the voice that reads text alone.
Shapes: J tokens of the reply, C symbols of the voice, D width of the language model, E of the voice's text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from finetune.joint.byte_spans import Span, overlap


class Gate(nn.Module):
    """Hidden states to what is added to the voice's input; a zero convolution (Zhang et al. 2023, ControlNet)."""

    def __init__(self, width: int, voice_width: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)  # the voice must go on to speak without
        self.out = nn.Linear(width, voice_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor, symbols: Sequence[Span], tokens: Sequence[Span]) -> Tensor:
        """[J, D] and the bytes that symbols and tokens of the same text cover, to [C, E]: all zero at the beginning."""
        share = overlap(symbols, tokens).to(hidden.device, hidden.dtype)  # [C, J]
        return torch.as_tensor(self.out(share @ self.dropout(hidden)))
