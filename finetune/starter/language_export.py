"""The trained language model as the service loads it: CTranslate2 int8, tokenizer, template. Knows no training step."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Final

from finetune.starter.language_text import BEGIN, END, TEMPLATE

GENERATION: Final = {"do_sample": False, "eos_token_id": 0, "bos_token_id": 1, "pad_token_id": 0}
COPIED: Final = ("tokenizer.json", "chat_template.jinja", "generation_config.json")


def export(run: Path, pack: Path) -> Path:
    """Writes RUN/hf from the checkpoint, and from it the pack's language folder; gives that folder."""
    folder = run / "hf"
    save_hugging_face(run, folder)
    target = pack / "language"
    convert(folder, target)
    size = sum(file.stat().st_size for file in target.iterdir())
    print(f"language: {target}, {size / 1e6:.1f} MB")
    return target


def save_hugging_face(run: Path, folder: Path) -> None:
    """The checkpoint of a run as a Hugging Face model with tokenizer: what an adapter is trained on."""
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from finetune.starter.language_train import Training, new_model

    values: dict[str, Any] = json.loads((run / "training.json").read_text())
    model = new_model(Training(**values))
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    model.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_file(str(run / "tokenizer.json")), bos_token=BEGIN, eos_token=END, pad_token=END
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n")
    facts = {"steps": state["step"], "core_minutes": round(state["seconds"] / 60, 1), "seed": values["seed"]}
    (run / "facts.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"language: {folder} is step {facts['steps']}, {facts['core_minutes']} core-minutes")


def convert(folder: Path, target: Path) -> None:
    """A Hugging Face folder to CTranslate2 int8, with the hash of the weights for adapters in base.json."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(target), quantization="int8", force=True)
    for name in COPIED:
        shutil.copyfile(folder / name, target / name)
    weights = folder / "model.safetensors"
    base = {"weights": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    (target / "base.json").write_text(json.dumps(base, indent=2) + "\n")
