"""A tiny ChatTTS with random weights: real classes, nothing learned."""

from __future__ import annotations

import string
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pybase16384
import pytest
import torch
from ChatTTS import core
from ChatTTS.config import config as sizes
from ChatTTS.model import DVAE, Embed
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast
from vocos import Vocos
from vocos.pretrained import instantiate_class

HIDDEN, CODES, VQ = 64, 34, 4
SPECIAL = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[Stts]", "[Ptts]", "[spk_emb]", "[empty_spk]", "[Sbreak]",
    "[Pbreak]", "[Ebreak]", *(f"[speed_{i}]" for i in range(10)),
]  # fmt: skip
WORDS = [*SPECIAL, *string.ascii_letters, *string.digits, *" .,!?'", "[break_0]"]


def small_config() -> sizes.Config:
    """ChatTTS's configuration, narrower."""
    decoder = sizes.Decoder(idim=HIDDEN // 2, odim=HIDDEN // 2, hidden=32, n_layer=2, bn_dim=16)
    return sizes.Config(
        decoder=decoder,
        gpt=sizes.GPT(
            hidden_size=HIDDEN, intermediate_size=128, num_attention_heads=2, num_hidden_layers=2,
            num_audio_tokens=CODES, num_text_tokens=len(WORDS),
        ),
        embed=sizes.Embed(hidden_size=HIDDEN, num_audio_tokens=CODES, num_text_tokens=len(WORDS)),
        vocos=sizes.Vocos(
            backbone=sizes.Backbone(init_args=sizes.BackboneInitArgs(dim=32, intermediate_dim=64, num_layers=2)),
            head=sizes.FourierHead(init_args=sizes.FourierHeadInitArgs(dim=32)),
        ),
        spk_stat=pybase16384.encode_to_string(np.ones(2 * HIDDEN, dtype=np.float16).tobytes()),
    )  # fmt: skip


def chattts(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """The folder that ChatTTS calls `asset`. Sizes stand in ChatTTS's code, so it is patched to know smaller ones."""
    config = small_config()
    patch.setattr(core, "Config", lambda: config)
    (folder / "tokenizer").mkdir(parents=True)
    torch.manual_seed(1)
    vocos = Vocos(*(instantiate_class(args=(), init=asdict(part)) for part in
                    (config.vocos.feature_extractor, config.vocos.backbone, config.vocos.head)))  # fmt: skip
    codec = DVAE(
        asdict(config.dvae.decoder), asdict(config.dvae.encoder), asdict(config.dvae.vq), config.dvae.decoder.idim
    )
    decoder = DVAE(asdict(config.decoder), dim=config.decoder.idim)
    embed = Embed(HIDDEN, CODES, len(WORDS), VQ)
    with torch.no_grad():
        for head in embed.head_code:  # so that the code which ends a text is never the likeliest: it speaks on
            head.parametrizations.weight.original0[CODES - 1] = 0.0
    for name, model in {"Vocos": vocos, "DVAE": codec, "Decoder": decoder, "Embed": embed}.items():
        tensors = {key: tensor.clone().contiguous() for key, tensor in model.state_dict().items()}
        save_file(tensors, folder / f"{name}.safetensors")
    gpt = asdict(config.gpt)
    LlamaModel(LlamaConfig(**gpt, vocab_size=8)).save_pretrained(folder / "gpt")
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    tokenizer.add_special_tokens([*SPECIAL, "[break_0]"])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder / "tokenizer"
    )
    return folder
