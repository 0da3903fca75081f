"""`python -m app.workers.coqui_convert CHECKPOINT_FOLDER VOICE_FOLDER`: a Coqui checkpoint as a pack's voice folder.

Runs in the environment of Coqui TTS. Takes VITS, MMS (config.json, vocab.txt, G_*.pth) and XTTS. Checkpoints are
pickles: they are opened by torch's restricted reader, which takes tensors and Coqui's own settings and nothing else.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.errors import PackError, ParleyError
from app.workers.coqui_folder import CONFIG, LANGUAGES, SPEAKERS, WEIGHTS, read_json
from app.workers.coqui_vits_network import MMS_VOCABULARY, build_vits
from app.workers.coqui_xtts import VOCABULARY, build_xtts

SPEAKER_FILES = ("speakers.json", "speaker_ids.json", "speakers.pth")
LANGUAGE_FILES = ("languages.json", "language_ids.json")
UNUSED = ("disc.", "speaker_encoder.", "dvae.", "torch_mel_spectrogram", "gpt.gpt_inference.", "gpt.gpt.wte.")
"""Beginnings of names of weights that only training or an old way of loading needs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 1 with a sentence of what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m app.workers.coqui_convert", description=__doc__)
    parser.add_argument("checkpoint_folder", type=Path)
    parser.add_argument("voice_folder", type=Path)
    args = parser.parse_args(arguments)
    try:
        convert(args.checkpoint_folder, args.voice_folder)
    except ParleyError as error:
        print(f"coqui_convert: {error.message}", file=sys.stderr)
        return 1
    print(f"{args.voice_folder} is ready: engine = coqui-vits, or coqui-xtts with a reference clip (docs/voices.md)")
    return 0


def convert(source: Path, target: Path) -> None:
    """Writes `target`: settings as JSON and weights as safetensors. Raises PackError."""
    from safetensors.torch import save_file

    target.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, VOCABULARY, MMS_VOCABULARY):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    _write_names(source, SPEAKER_FILES, target / SPEAKERS)
    _write_names(source, LANGUAGE_FILES, target / LANGUAGES)
    is_mms = (target / MMS_VOCABULARY).is_file()
    is_xtts = not is_mms and read_json(target / CONFIG).get("model") == "xtts"
    model = build_xtts(target) if is_xtts else build_vits(target)
    file = _checkpoint(source)
    weights = _mms_weights(file) if is_mms else _weights(file)
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise PackError(f"{file} does not fit {source / CONFIG}: {error}") from error
    save_file({name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}, target / WEIGHTS)


def discriminator_weights(source: Path) -> dict[str, Any]:
    """Those of the network that a VITS was trained against, where the checkpoint has them. Raises PackError."""
    if (source / MMS_VOCABULARY).is_file() or not list(source.glob("*.pth*")):
        return {}
    weights: Mapping[str, Any] = _read(_checkpoint(source))
    weights = weights.get("model", weights)
    return {name.removeprefix("disc."): tensor for name, tensor in weights.items() if name.startswith("disc.")}


def _checkpoint(source: Path) -> Path:
    found = [path for path in sorted(source.glob("*.pth*")) if path.name not in ("speakers.pth", "speakers_xtts.pth")]
    # XTTS ships its training's other networks beside model.pth.
    found = [path for path in found if path.name == "model.pth"] or found
    if len(found) != 1:
        raise PackError(f"{source} has {len(found)} checkpoints (*.pth), expected one")
    return found[0]


def _weights(file: Path) -> dict[str, Any]:
    weights: Mapping[str, Any] = _read(file)
    weights = weights.get("model", weights)
    named = {name.removeprefix("xtts."): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith(UNUSED)}


def _mms_weights(file: Path) -> dict[str, Any]:
    from TTS.tts.utils.fairseq import rehash_fairseq_vits_checkpoint

    _read(file)  # refuses by the same words what is more than tensors; Coqui's own reader is as strict
    weights: dict[str, Any] = rehash_fairseq_vits_checkpoint(file)
    return weights


def _read(file: Path) -> Any:
    """What a checkpoint holds. Raises PackError for one that would run code."""
    import torch
    from TTS.config.shared_configs import BaseDatasetConfig
    from TTS.tts.configs.xtts_config import XttsArgs, XttsAudioConfig, XttsConfig

    # XTTS checkpoints hold their settings, under the names that these classes had when they were written.
    old = [(kind, f"TTS.tts.models.xtts.{kind.__name__}") for kind in (XttsArgs, XttsAudioConfig)]
    with torch.serialization.safe_globals([*old, BaseDatasetConfig, XttsConfig]):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise PackError(f"{file} is no checkpoint of tensors: {error}") from error


def _write_names(source: Path, names: Sequence[str], target: Path) -> None:
    """Numbers of speakers or languages by name, where the checkpoint has them."""
    for file in (source / name for name in names):
        if file.is_file():
            numbers = _read(file) if file.suffix == ".pth" else read_json(file)
            target.write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            return


if __name__ == "__main__":
    sys.exit(main())
