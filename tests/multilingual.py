"""A tiny Whisper with random weights and the full multilingual vocabulary, in CTranslate2's format, for tests.

Real are the format, the converter and all special tokens with their ids; its words mean nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

TEXT_TOKENS = 50_257
"""Before the special ones, as in every multilingual Whisper."""
CODES = list(LANGUAGES)[:99]
"""In Whisper's order; the hundredth came with large-v3."""
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in CODES),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
    *(f"<|{moment * 0.02:.2f}|>" for moment in range(1501)),
]
VOCABULARY = 51_865


def build(folder: Path, *, trained_from: int = 3) -> Path:
    """Writes the model into `folder`/model and returns that; always the same weights."""
    tokenizer = _tokenizer()
    assert tokenizer.get_vocab_size() == VOCABULARY
    first = TEXT_TOKENS
    torch.manual_seed(trained_from)
    config = WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=80,
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=1,
        decoder_attention_heads=1,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        pad_token_id=first,
        bos_token_id=first,
        eos_token_id=first,
        decoder_start_token_id=first + 1,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv1d):  # else nothing of the audio reaches the words
                layer.weight *= 8
    model.generation_config = GenerationConfig(
        suppress_tokens=[],
        begin_suppress_tokens=[first],
        eos_token_id=first,
        bos_token_id=first,
        pad_token_id=first,
        decoder_start_token_id=first + 1,
        lang_to_id={f"<|{code}|>": first + 2 + row for row, code in enumerate(CODES)},
        is_multilingual=True,
        max_length=448,
    )
    original = folder / "original"
    model.save_pretrained(original)
    tokenizer.save(str(original / "tokenizer.json"))
    end = SPECIAL[0]
    PreTrainedTokenizerFast(
        tokenizer_file=str(original / "tokenizer.json"), bos_token=end, eos_token=end, unk_token=end, pad_token=end
    ).save_pretrained(original)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(original)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import ctranslate2

    files = ["tokenizer.json", "preprocessor_config.json"]
    converter = ctranslate2.converters.TransformersConverter(str(original), copy_files=files)
    converter.convert(str(folder / "model"), quantization="int8")  # whole numbers: exact whatever the batch
    return folder / "model"


def _tokenizer() -> Tokenizer:
    """Byte-level BPE, filled up with words that no text holds."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    trained.train_from_iterator([" -", " '", " parley", " hello", " ♩ ♪ ♫ ♬ ♭ ♮ ♯"] * 100, trainer)
    vocabulary = trained.get_vocab()
    merges = [tuple(merge) for merge in json.loads(trained.to_str())["model"]["merges"]]
    for number in range(TEXT_TOKENS - 1 - len(vocabulary)):
        vocabulary[f"Ġw{number}"] = len(vocabulary)
    vocabulary[""] = TEXT_TOKENS - 1  # OpenAI's has it too, and CTranslate2 takes a model without it for English-only
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer
