"""Tokenizers, a Whisper and a Llama of random weights, and a voice that hums: small enough for a moment each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from app import REPOSITORY
from app.workers.whisper_windows import Asked, Window
from finetune.checkpoint import seed_everything
from finetune.recipes.language_rows import Encoder

PACK = REPOSITORY / "models/packs/en-starter"


def whisper_tokenizer() -> Tokenizer:
    """The starter's: byte-level, with Whisper's special tokens."""
    return Tokenizer.from_file(str(PACK / "recognizer/tokenizer.json"))


def chat_tokenizer() -> Any:
    """The starter's, as transformers has it."""
    from transformers import PreTrainedTokenizerFast

    folder = PACK / "language"
    fast = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))  # type: ignore[no-untyped-call]
    fast.chat_template = (folder / "chat_template.jinja").read_text()
    return fast


def chat_encoder(tokenizer: Any | None = None) -> Encoder:
    """Prompts as the starter's service renders them."""
    tokenizer = tokenizer or chat_tokenizer()
    return Encoder(tokenizer, [tokenizer.convert_tokens_to_ids("<|end|>")], "You are Parley.")


def whisper(vocabulary: int, seed: int = 1) -> Any:
    """Two layers each, 3 s at most."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    seed_everything(seed)
    return WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=vocabulary, num_mel_bins=80, d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
            max_source_positions=150, max_target_positions=64, pad_token_id=0, bos_token_id=0, eos_token_id=0,
            decoder_start_token_id=1, init_std=0.3, suppress_tokens=[], begin_suppress_tokens=[],
        )
    ).eval()  # fmt: skip


def window(mel: Tensor, longest: int) -> Window:
    """A window of features [M, T], of nothing that can be heard where T is 0."""
    return Window(Asked(), np.zeros(0, np.float32), mel.numpy(), mel.shape[1], longest)


def llama(vocabulary: int, seed: int = 2) -> Any:
    """Two layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    seed_everything(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2,
        )
    ).eval()  # fmt: skip


class HummingVoice(nn.Module):
    """Each letter a tone of learnt pitch and loudness for a twentieth of a second; the simplest voice with weights."""

    rate = 24_000
    samples = 1200

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.letters = nn.Embedding(128, width)
        self.out = nn.Linear(width, 2)

    def symbols(self, text: str) -> list[tuple[int, int]]:
        """Letters, by the bytes that they have."""
        ends = [len(text[:i].encode()) for i in range(len(text) + 1)]
        return list(itertools.pairwise(ends))

    def speak(self, texts: Sequence[str], added: Sequence[Tensor] | None = None) -> list[Tensor]:
        """One waveform [N] a text."""
        made = []
        time = torch.arange(self.samples) / self.rate
        for i, text in enumerate(texts):
            x = self.letters(torch.tensor([min(ord(letter), 127) for letter in text]))
            x = x if added is None else x + added[i]
            pitch, loudness = self.out(x).unbind(-1)
            tones = torch.sin(2 * torch.pi * (200 + 600 * pitch.sigmoid())[:, None] * time)
            made.append((tones * loudness.sigmoid()[:, None] * 0.5).flatten())
        return made


def norm(parameters: Any) -> float:
    """Of all gradients together; 0 where there are none."""
    return float(sum(float((p.grad**2).sum()) for p in parameters if p.grad is not None)) ** 0.5


def forget(*models: nn.Module) -> None:
    """No gradients any more."""
    for model in models:
        model.zero_grad(set_to_none=True)
