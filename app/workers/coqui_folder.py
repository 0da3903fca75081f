"""A Coqui model's folder in a pack: its configuration, made harmless, and its weights. Knows no kind of model.

Coqui's own loaders unpickle weights, follow paths and import classes that the configuration names. A pack is data from
elsewhere, so only safetensors are opened here, and whatever names a path or a class outside of the folder is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.errors import PackError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SPEAKERS, LANGUAGES = "speakers.json", "languages.json"
CONVERTER = "python -m app.workers.coqui_convert CHECKPOINT_FOLDER VOICE_FOLDER"
PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle")
CHARACTERS = ("TTS.tts.utils.text.characters.", "TTS.tts.models.vits.")
"""Modules whose character sets a configuration may name."""
PATH_KEYS = (
    "d_vector_file", "speaker_encoder_model_path", "speaker_encoder_config_path", "phoneme_cache_path", "output_path",
    "tokenizer_file", "gpt_checkpoint", "clvp_checkpoint", "decoder_checkpoint", "restore_path", "f0_cache_path",
    "energy_cache_path", "dvae_checkpoint", "mel_norm_file", "xtts_checkpoint", "speaker_file",
)  # fmt: skip
"""Files that only training or another way of loading needs; forgotten."""


def read_config(folder: Path, model: str) -> dict[str, Any]:
    """config.json of a `vits` or `xtts` model, safe to hand to Coqui's classes. Raises PackError."""
    config = read_json(folder / CONFIG)
    if config.get("model") != model:
        raise PackError(f"{folder / CONFIG}: model is {config.get('model')!r}, expected {model!r}")
    args = config.get("model_args")
    if not isinstance(args, dict):
        raise PackError(f"{folder / CONFIG} lacks the table model_args")
    characters = config.get("characters") or {}
    name = characters.get("characters_class") or ""
    if name and not name.startswith(CHARACTERS):
        raise PackError(f"{folder / CONFIG}: characters_class is {name!r}, expected one of Coqui TTS's own")
    for table in (config, args):
        if table.get("use_d_vector_file"):
            raise PackError(f"{folder / CONFIG} wants a file of speaker vectors; only embedded speakers are supported")
        for key in PATH_KEYS:
            table.pop(key, None)
        for key, own in (("speakers_file", SPEAKERS), ("language_ids_file", LANGUAGES)):
            table.pop(key, None)
            if (folder / own).is_file():
                table[key] = str(folder / own)
    config["datasets"] = []  # of the training
    return config


def read_weights(folder: Path) -> dict[str, Any]:
    """Tensors by name, on the CPU. Raises PackError, which names the converter where the folder has pickles."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES) if folder.is_dir() else []
    if pickles:
        raise PackError(
            f"{folder} holds {', '.join(pickles)}; loading a pickle can run code, expected {WEIGHTS}. "
            f"Make one with: {CONVERTER}"
        )
    try:
        tensors: dict[str, Any] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise PackError(f"{folder / WEIGHTS} cannot be loaded: {error}") from error
    return tensors


def fill(model: Any, folder: Path) -> None:
    """Puts the folder's weights into a torch module: every one known, none missing. Raises PackError."""
    try:
        model.load_state_dict(read_weights(folder), strict=True)
    except RuntimeError as error:  # torch's only class for names and shapes that differ
        raise PackError(f"{folder / WEIGHTS} does not fit {CONFIG}: {error}") from error


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object. Raises PackError."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"{file} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise PackError(f"{file} is no JSON object")
    return value


def device_of(wanted: str) -> str:
    """`auto` as the device that is there: cuda or cpu."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
