"""Tiny Coqui models with random weights, as a pack's voice folders hold them: real classes, nothing learned."""

from __future__ import annotations

import functools
import json
import string
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE

from app.audio import to_pcm16

TEXTS = (
    "The lights in the kitchen are on.",
    "Your timer for twenty minutes has started.",
    "Hello!",
    "It is raining in London today, bring a coat.",
    "Seven plus eleven equals eighteen.",
    "Once upon a time there was a brave little dog.",
    "Please close the door.",
    "We can count: one, two, three.",
)
"""One a caller, of different lengths."""

VITS_ARGS: dict[str, Any] = {
    "hidden_channels": 32, "hidden_channels_ffn_text_encoder": 64, "num_layers_text_encoder": 2,
    "num_layers_posterior_encoder": 2, "num_layers_flow": 2, "upsample_initial_channel_decoder": 64,
    "init_discriminator": False, "inference_noise_scale": 0.0, "inference_noise_scale_dp": 0.0,
}  # fmt: skip


def vits(folder: Path, speakers: tuple[str, ...] = (), **args: Any) -> Path:
    """A VITS of 22 050 Hz that is deterministic: both noise scales are 0."""
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits

    folder.mkdir()
    values: dict[str, Any] = {"model": "vits", "model_args": {**VITS_ARGS, **args}}
    if speakers:
        (folder / "speakers.json").write_text(json.dumps({name: i for i, name in enumerate(speakers)}))
        values["model_args"] |= {"use_speaker_embedding": True, "num_speakers": len(speakers)}
        values["model_args"]["speakers_file"] = str(folder / "speakers.json")
    config = VitsConfig()
    config.from_dict(values)
    torch.manual_seed(1)
    model = Vits(config)
    _roughen(model)
    (folder / "config.json").write_text(json.dumps(values))
    save(model, folder)
    return folder


def mms(folder: Path) -> Path:
    """A voice in the form of the MMS project, of full size: its configuration leaves no choice."""
    from app.workers.coqui_vits_network import build_vits

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["_", *string.ascii_lowercase, " ", "'"]) + "\n")
    data = {"sampling_rate": 16_000, "training_files": "train.ltr", "add_blank": True}
    (folder / "config.json").write_text(json.dumps({"data": data}))
    torch.manual_seed(1)
    model = build_vits(folder)
    _roughen(model)
    save(model, folder)
    return folder


def shrink_xtts(patch: pytest.MonkeyPatch) -> None:
    """Makes the real decoder narrow, which no configuration can: at full width a second of speech takes a second."""
    from TTS.tts.layers.xtts.hifigan_decoder import HifiDecoder
    from TTS.tts.models import xtts

    patch.setattr(xtts, "HifiDecoder", functools.partial(HifiDecoder, upsample_initial_channel_decoder=64))


def xtts(folder: Path, more_letters: str = "", **changes: Any) -> Path:
    """An XTTS with a tiny GPT, changed as said, and a clip to clone from."""
    from app.workers.coqui_xtts import build_xtts

    folder.mkdir()
    letters = [*string.ascii_lowercase, *more_letters, "'", ",", ".", "!", "?", ":"]
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", "[en]", "[de]"]
    tokenizer = Tokenizer(
        BPE(vocab={token: i for i, token in enumerate([*special, *letters])}, merges=[], unk_token="[UNK]")
    )
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "vocab.json"))
    args = {
        "gpt_layers": 2, "gpt_n_model_channels": 64, "gpt_n_heads": 2, "gpt_max_audio_tokens": 50,
        "gpt_max_text_tokens": 120, "gpt_num_audio_tokens": 34, "gpt_start_audio_token": 32,
        "gpt_stop_audio_token": 33, "gpt_use_perceiver_resampler": True, "gpt_code_stride_len": 256,
        "decoder_input_dim": 64, **changes,
    }  # fmt: skip
    values = {"model": "xtts", "model_args": args, "languages": ["en", "de"], "temperature": 0.8}
    (folder / "config.json").write_text(json.dumps(values))
    torch.manual_seed(1)
    model = build_xtts(folder)
    with torch.no_grad():
        model.gpt.mel_head.bias[args["gpt_stop_audio_token"]] = -100  # speaks as long as it may: 50 tokens, 3 pieces
    save(model, folder)
    hum = np.sin(np.arange(22_050) * 0.05).astype(np.float32) * 0.3
    with wave.open(str(folder / "reader.wav"), "wb") as file:
        file.setparams((1, 2, 22_050, 0, "NONE", ""))
        file.writeframes(to_pcm16(hum))
    return folder


def save(model: Any, folder: Path) -> None:
    """The weights as safetensors."""
    save_file({name: t.clone().contiguous() for name, t in model.state_dict().items()}, folder / "model.safetensors")


def _roughen(model: Any) -> None:
    """Layers that training would begin at zero get something to do."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
