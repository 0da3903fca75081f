"""The starter's recognizer as a torch network: a small Whisper with two helper heads for training.

Knows no files, no data and no schedule. Shapes: B batch, T mel frames, S encoder states (T / 2), L tokens,
V vocabulary, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperConfig, WhisperForConditionalGeneration

from finetune.starter.recognizer_text import SPECIAL
from finetune.starter.speech import PHONES

CHARACTERS = " abcdefghijklmnopqrstuvwxyz'"
"""CTC's labels, from 1; 0 is the blank."""
MELS = 80
SOURCE_POSITIONS = 1500
"""30 s: CTranslate2 accepts shorter inputs than this, but not longer ones."""
TARGET_POSITIONS = 448
"""Decoders ask for this many positions, however short the texts are."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network."""

    width: int = 192
    encoder_layers: int = 4
    decoder_layers: int = 2


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids that the decoder's prompt and targets are made of."""

    end: int
    start: int
    no_speech: int
    no_timestamps: int

    @property
    def first_moment(self) -> int:
        """<|0.00|>."""
        return self.no_timestamps + 1


def special_tokens(tokenizer: Tokenizer) -> SpecialTokens:
    """The ids in `tokenizer`."""
    first: int = tokenizer.token_to_id(SPECIAL[0])  # type: ignore[assignment]  # None only for an unknown token
    return SpecialTokens(
        end=first,
        start=first + SPECIAL.index("<|startoftranscript|>"),
        no_speech=first + SPECIAL.index("<|nospeech|>"),
        no_timestamps=first + SPECIAL.index("<|notimestamps|>"),
    )


class Network(nn.Module):
    """Whisper, a character CTC head and a phone head over its encoder; the heads stay behind at export."""

    def __init__(self, vocabulary: int, special: SpecialTokens, shape: Shape) -> None:
        super().__init__()
        self.special = special
        heads = max(1, shape.width // 64)
        config = WhisperConfig(
            vocab_size=vocabulary,
            num_mel_bins=MELS,
            d_model=shape.width,
            encoder_layers=shape.encoder_layers,
            decoder_layers=shape.decoder_layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=4 * shape.width,
            decoder_ffn_dim=4 * shape.width,
            max_source_positions=SOURCE_POSITIONS,
            max_target_positions=TARGET_POSITIONS,
            dropout=0.0,
            # torch's fused attention runs its backward pass on the CPU at about a fifth of the plain one's speed.
            attn_implementation="eager",  # type: ignore[call-arg]
            pad_token_id=special.end,
            bos_token_id=special.end,
            eos_token_id=special.end,
            decoder_start_token_id=special.start,
            suppress_tokens=[],
            begin_suppress_tokens=[],
        )
        self.whisper = WhisperForConditionalGeneration(config)
        self.characters = nn.Linear(shape.width, len(CHARACTERS) + 1)
        self.phones = nn.Linear(shape.width, len(PHONES))
        encoder = self.whisper.model.encoder
        encoder.embed_positions.weight.requires_grad_(False)  # sinusoids, as Whisper has them
        _even_out(self.whisper.model)
        for layer in encoder.layers[:2]:
            # Equal query and key matrices make a state attend to its own neighbourhood through the sinusoids: a prior
            # that otherwise takes many steps to find.
            layer.self_attn.q_proj.weight.data *= 2
            layer.self_attn.k_proj.weight.data.copy_(layer.self_attn.q_proj.weight.data)

    def encode(self, mels: Tensor) -> Tensor:
        """[B, T, 80] with even T to states [B, S, D]; any T up to 3000, unlike Whisper's own forward."""
        encoder = self.whisper.model.encoder
        hidden = F.gelu(_convolve(encoder.conv1, mels, stride=1))
        hidden = F.gelu(_convolve(encoder.conv2, hidden, stride=2))
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            output = layer(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
        normed: Tensor = encoder.layer_norm(hidden)
        return normed

    def decode(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Tokens [B, L] and states [B, S, D] to logits [B, L, V]."""
        hidden = self.whisper.model.decoder(input_ids=tokens, encoder_hidden_states=states, use_cache=False)
        logits: Tensor = self.whisper.proj_out(hidden.last_hidden_state)
        return logits

    @torch.no_grad()
    def transcribe(self, mels: Tensor, longest: int = 48) -> list[list[int]]:
        """Greedy text tokens of each window of [B, T, 80], without the special ones."""
        states = self.encode(mels)
        tokens = torch.tensor([[self.special.start, self.special.no_timestamps]] * len(mels))
        ended = torch.zeros(len(mels), dtype=torch.bool)
        for _ in range(longest):
            logits = self.decode(tokens, states)[:, -1, : self.special.end + 1]
            chosen = logits.argmax(-1).masked_fill(ended, self.special.end)
            ended |= chosen == self.special.end
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
            if ended.all():
                break
        return [[token for token in row if token < self.special.end] for row in tokens[:, 2:].tolist()]


def _even_out(model: nn.Module) -> None:
    """Starts every layer with outputs about as large as its inputs (Glorot and Bengio 2010).

    transformers draws all weights with deviation 0.02, whatever the width: at this size the audio then enters the
    encoder 17 times more quietly than the table of positions, and training stays on a plateau for thousands of steps.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv1d):
            # For log-mel in about -1..1 and a gelu behind: the second layer's outputs then have a deviation near 0.7.
            nn.init.normal_(layer.weight, std=2.0 * layer.weight[0].numel() ** -0.5)


def _convolve(layer: nn.Conv1d, frames: Tensor, stride: int) -> Tensor:
    """Kernel 3, padding 1, over [B, T, C], as one matrix product: conv1d's bf16 backward is slow on CPUs."""
    windows = F.pad(frames, (0, 0, 1, 1)).unfold(1, 3, stride)
    return F.linear(windows.flatten(2), layer.weight.flatten(1), layer.bias)
