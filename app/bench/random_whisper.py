"""A Whisper with random weights and the full multilingual vocabulary, in CTranslate2's format: form and speed.

Real are the format, the converter, and all special tokens with their ids. Needs the `train` extra.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT_TOKENS = 50_257
"""Before the special ones, as in every multilingual Whisper."""
CODES = [
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it", "id", "hi", "fi",
    "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur", "hr", "bg", "lt", "la", "mi", "ml",
    "cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn", "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs",
    "kk", "sq", "sw", "gl", "mr", "pa", "si", "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu", "am",
    "yi", "lo", "uz", "fo", "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl", "mg", "as", "tt", "haw", "ln",
    "ha", "ba", "jw", "su",
]  # fmt: skip
"""The 99 languages in Whisper's order."""
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{code}|>" for code in CODES),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
    *(f"<|{moment * 0.02:.2f}|>" for moment in range(1501)),
]
PROMPT_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network."""

    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    mels: int
    gain: float = 1.0
    """On all weights: more makes the words depend more on the audio."""
    words: int = 0
    """Tokens after which it ends, as a trained model does; 0: it never ends by itself."""


TURBO = Shape(width=1280, encoder_layers=32, decoder_layers=4, heads=20, mels=128, words=12)
"""whisper-large-v3-turbo, and about as many tokens as a short request has."""


def write_whisper(folder: Path, shape: Shape, *, quantization: str, seed: int = 0) -> None:
    """Writes the model into `folder`; the same seed gives the same weights."""
    import ctranslate2
    from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # otherwise each missing optional file is asked for, with retries
    with tempfile.TemporaryDirectory() as scratch:
        original = Path(scratch)
        _model(shape, seed).save_pretrained(original)
        _tokenizer().save(str(original / "tokenizer.json"))
        end = SPECIAL[0]
        PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_file=str(original / "tokenizer.json"), bos_token=end, eos_token=end, unk_token=end, pad_token=end
        ).save_pretrained(original)
        WhisperFeatureExtractor(feature_size=shape.mels).save_pretrained(original)  # type: ignore[no-untyped-call]
        files = ["tokenizer.json", "preprocessor_config.json"]
        converter = ctranslate2.converters.TransformersConverter(scratch, copy_files=files)
        converter.convert(str(folder), quantization=quantization, force=True)


def _model(shape: Shape, seed: int) -> Any:
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    first = TEXT_TOKENS
    ids: dict[str, Any] = {
        "pad_token_id": first,
        "bos_token_id": first,
        "eos_token_id": first,
        "decoder_start_token_id": first + 1,
        "suppress_tokens": [],
        "begin_suppress_tokens": [first],
    }
    torch.manual_seed(seed)
    model: Any = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=TEXT_TOKENS + len(SPECIAL),
            num_mel_bins=shape.mels,
            d_model=shape.width,
            encoder_layers=shape.encoder_layers,
            decoder_layers=shape.decoder_layers,
            encoder_attention_heads=shape.heads,
            decoder_attention_heads=shape.heads,
            encoder_ffn_dim=4 * shape.width,
            decoder_ffn_dim=4 * shape.width,
            **ids,
        )
    )
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv1d):
                layer.weight *= shape.gain
        if shape.words:  # the positions push all states away from the end token, and then towards it
            direction = torch.nn.functional.normalize(torch.randn(shape.width), dim=0)
            positions = model.model.decoder.embed_positions.weight
            last = PROMPT_TOKENS - 1 + shape.words
            positions[:last] -= 20 * direction
            positions[last:] += 20 * direction
            model.model.decoder.embed_tokens.weight[first] = direction
    languages = {f"<|{code}|>": first + 2 + row for row, code in enumerate(CODES)}
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        lang_to_id=languages, is_multilingual=True, max_length=448, **ids
    )
    return model


def _tokenizer() -> Any:
    """Byte-level BPE, filled up with words that no text holds."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    # Decoders suppress the first token of these; where it were the bare space, they would suppress all words.
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
