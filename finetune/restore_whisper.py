"""A CTranslate2 Whisper, such as a pack's recognizer, as a Hugging Face folder that can be trained. Knows no training.

int8 weights come back as the numbers that they were rounded to, so that the folder hears what the recognizer hears.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetune.ctranslate2_weights import Variable, read
from finetune.errors import ConfigError

END, START = "<|endoftext|>", "<|startoftranscript|>"
FEATURES = "preprocessor_config.json"
BLOCKS = {"self_attention": "self_attn", "attention": "encoder_attn"}
"""CTranslate2's name of an attention to transformers'."""
PLAIN = {
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
    "ffn/layer_norm": "final_layer_norm",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "layer_norm": "layer_norm",
    "conv1": "conv1",
    "conv2": "conv2",
}
PARTS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def restore(pack_stage_folder: Path, out: Path) -> Path:
    """Writes `out`, a Hugging Face folder, whole or not at all, and gives it; what is there is left as it is.

    Raises ConfigError for what is no CTranslate2 Whisper.
    """
    if out.is_dir():
        return out
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor, WhisperForConditionalGeneration

    name, variables = read(pack_stage_folder / "model.bin")
    if name != "WhisperSpec":
        raise ConfigError(f"{pack_stage_folder} holds a {name}, expected a WhisperSpec")
    tokenizer = Tokenizer.from_file(str(pack_stage_folder / "tokenizer.json"))
    end, start = tokenizer.token_to_id(END), tokenizer.token_to_id(START)
    if end is None or start is None:
        raise ConfigError(f"{pack_stage_folder}: its tokenizer has no {END} or no {START}, expected both")
    model: Any = WhisperForConditionalGeneration(_config(variables, end, start))
    model.load_state_dict(_weights(variables))
    settings = json.loads((pack_stage_folder / "config.json").read_text(encoding="utf-8"))
    kept = model.generation_config
    kept.suppress_tokens = settings["suppress_ids"]
    kept.begin_suppress_tokens = settings["suppress_ids_begin"]
    kept.alignment_heads = settings["alignment_heads"]
    if settings["lang_ids"]:
        kept.lang_to_id = {tokenizer.id_to_token(token): token for token in settings["lang_ids"]}
    partial = out.with_name(f"{out.name}.{os.getpid()}")  # of several processes, the first to be ready wins
    model.save_pretrained(partial)
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END, pad_token=END
    ).save_pretrained(partial)
    if (pack_stage_folder / FEATURES).is_file():
        shutil.copyfile(pack_stage_folder / FEATURES, partial / FEATURES)
    else:
        WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).save_pretrained(partial)  # type: ignore[no-untyped-call]
    try:
        partial.rename(out)
    except OSError:
        shutil.rmtree(partial)
    return out


def _config(variables: Mapping[str, Variable], end: int, start: int) -> Any:
    from transformers import WhisperConfig

    vocabulary, width = variables["decoder/embeddings/weight"].shape
    layers = {
        part: len({name.split("/")[1] for name in variables if name.startswith(f"{part}/layer_") and "/ffn/" in name})
        for part in ("encoder", "decoder")
    }
    return WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        num_mel_bins=variables["encoder/conv1/weight"].shape[1],
        encoder_layers=layers["encoder"],
        decoder_layers=layers["decoder"],
        encoder_attention_heads=int(variables["encoder/num_heads"]),
        decoder_attention_heads=int(variables["decoder/num_heads"]),
        encoder_ffn_dim=variables["encoder/layer_0/ffn/linear_0/bias"].shape[0],
        decoder_ffn_dim=variables["decoder/layer_0/ffn/linear_0/bias"].shape[0],
        max_source_positions=variables["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=variables["decoder/position_encodings/encodings"].shape[0],
        dropout=0.0,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )


def _weights(variables: Mapping[str, Variable]) -> dict[str, Tensor]:
    """The state of transformers' model: fused projections apart again, everything under its own name."""
    state: dict[str, Variable] = {"proj_out.weight": variables["decoder/projection/weight"]}
    for name, value in variables.items():
        part, _, rest = name.partition("/")
        if match := re.fullmatch(r"layer_(\d+)/(.+)", rest):
            prefix, rest = f"model.{part}.layers.{match[1]}.", match[2]
        else:
            prefix = f"model.{part}."
        module, _, kind = rest.rpartition("/")
        if module in PLAIN:
            state[f"{prefix}{PLAIN[module]}.{PARTS[kind]}"] = value
        elif rest == "embeddings/weight":
            state[f"{prefix}embed_tokens.weight"] = value
        elif rest == "position_encodings/encodings":
            state[f"{prefix}embed_positions.weight"] = value
        elif match := re.fullmatch(r"(self_attention|attention)/linear_(\d)", module):
            for projection, rows in _projections(match[1], int(match[2]), value).items():
                if (projection, kind) != ("k_proj", "bias"):  # zeros: Whisper's keys have none
                    state[f"{prefix}{BLOCKS[match[1]]}.{projection}.{kind}"] = rows
    return {name: torch.from_numpy(value.copy()) for name, value in state.items()}


def _projections(block: str, number: int, value: Variable) -> dict[str, Variable]:
    """What CTranslate2 stacks into one matrix: query, key and value of a self-attention, key and value of another."""
    stacked = {("self_attention", 0): "qkv", ("attention", 0): "q", ("attention", 1): "kv"}.get((block, number))
    if stacked is None:
        return {"out_proj": value}
    return {f"{letter}_proj": rows for letter, rows in zip(stacked, _cut(value, len(stacked)), strict=True)}


def _cut(value: Variable, parts: int) -> list[Variable]:
    size = len(value) // parts
    return [value[i * size : (i + 1) * size] for i in range(parts)]
