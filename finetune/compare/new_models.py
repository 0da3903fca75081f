"""A recognizer and a language model that know nothing yet, as Hugging Face folders: small ones, or of any other shape.

Their tokenizers are cut to the letters of the texts that are given. Knows no data and no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from finetune.checkpoint import seed_everything
from finetune.starter.recognizer_model import special_tokens
from finetune.starter.recognizer_text import SPECIAL, train_tokenizer

ROLES: Final = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE: Final = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides a model's size."""

    width: int
    layers: int
    """Of a recognizer: in the encoder, and as many in the decoder."""
    heads: int
    inner: int
    """Width of the feed-forward layers."""
    pieces: int = 330
    """Tokens of text at the most, 256 of which are bytes; there are as many as the texts have."""
    key_heads: int | None = None
    """A language model's; None: as many as heads."""
    positions: int = 256
    """A language model's."""


RECOGNIZER: Final = Shape(width=96, layers=2, heads=4, inner=256)
LANGUAGE: Final = Shape(width=128, layers=3, heads=4, inner=320)


def write_recognizer(folder: Path, texts: Sequence[str], seed: int, shape: Shape = RECOGNIZER) -> None:
    """A Whisper, which names no language in its prompts."""
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    tokenizer = train_tokenizer(texts, vocabulary=shape.pieces)
    end = special_tokens(tokenizer).end
    ids: dict[str, Any] = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    ids |= {"decoder_start_token_id": end + 1, "suppress_tokens": None, "begin_suppress_tokens": None}
    layers: dict[str, Any] = {
        f"{part}_{name}": value
        for part in ("encoder", "decoder")
        for name, value in (("layers", shape.layers), ("attention_heads", shape.heads), ("ffn_dim", shape.inner))
    }
    seed_everything(seed)
    model: Any = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=tokenizer.get_vocab_size(), d_model=shape.width, **layers, **ids)
    )
    model.generation_config.suppress_tokens, model.generation_config.begin_suppress_tokens = [], [end]
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[0], unk_token=SPECIAL[0]
    ).save_pretrained(folder)


def write_language(folder: Path, texts: Sequence[str], seed: int, shape: Shape = LANGUAGE) -> None:
    """A Llama with a chat template of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.pieces,
        special_tokens=list(ROLES),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    end = ROLES.index("<|end|>")
    seed_everything(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=shape.width,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_heads or shape.heads,
            max_position_embeddings=shape.positions,
            bos_token_id=None,
            eos_token_id=end,
            pad_token_id=None,  # its embedding would stay 0, and the end of a reply unlearnable
            tie_word_embeddings=True,
            initializer_range=0.1,
        )
    )
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=ROLES[end], pad_token=ROLES[end]
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
