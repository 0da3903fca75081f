"""The language recipe: a chat model on dialogues, by LoRA or whole, exported as an adapter and as a merged model.

Reads from top to bottom: `run` with its steps, then what the steps are made of.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.workers.base_hash import base_sha256
from finetune import base_folder as base_folders
from finetune import checkpoint, shards
from finetune import dry_run as estimates
from finetune.data.errors import DataError
from finetune.data.rows import Dialogue
from finetune.data_of_run import dialogues
from finetune.errors import ConfigError
from finetune.freezing import freeze
from finetune.loop import Task, train
from finetune.recipes import language_export as export
from finetune.recipes.language_batches import Batches
from finetune.recipes.language_config import Config
from finetune.recipes.language_rows import IGNORED, Encoder, Row, cut, tensors
from finetune.restore_llama import is_pack, of_pack
from finetune.run import fingerprint, open_run

__all__ = ["Config", "run"]


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError."""
    # 1. The base, and adapters on it
    checkpoint.seed_everything(config.training.seed)
    base = base_folder(config.base, Path(config.run))
    model, tokenizer = load(base, config)
    encoder = Encoder(tokenizer, export.end_tokens(model), config.prompt)

    # 2. Data: what is learnt, what is rehearsed, and the dev split that decides
    new = dialogues(config.data, config.training, config.dev_share)
    old = dialogues(config.rehearsal.data, config.training, config.dev_share)
    batches = Batches(config, encoder, new.train, old.train)
    dev = {"dev_loss": encoded(encoder, new.dev, config.row_tokens)}
    if old.dev:
        dev["old_dev_loss"] = encoded(encoder, old.dev, config.row_tokens)
    print(batches.summary())

    # 3. One step's loss, and what is measured on dev
    task = Task(model, batches.batch, loss, lambda model: {name: mean_loss(model, dev[name], config) for name in dev})

    # 4. A dry run ends here
    if dry_run:
        print(estimates.show(estimates.estimate(task, config.training), config.training))
        return

    # 5. The run folder; the ledger learns whose words are in it
    confusions = {name: fingerprint(Path(name)) for name in filter(None, [config.noise.confusions])}
    data = {**new.fingerprints, **old.fingerprints, **confusions, "base": base_sha256(base)}
    opened = open_run(Path(config.run), "language", config, data=data, seed=config.training.seed, resume=resume)
    new.note(opened)
    old.note(opened)

    # 6. Training, from the checkpoint where there is one; leaves the best weights in the model
    train(task, config.training, opened)

    # 7. Export, each form proved against the trainer on dialogues of dev
    model = unsharded(model, base, config, opened.main)
    if opened.main:
        export.export(opened, model, tokenizer, encoder, new.dev, base, config.base, config.export)


def base_folder(base: str, run: Path) -> Path:
    """The Hugging Face folder of a base; a pack's language model is put into `run`. Raises ConfigError, PackError."""
    return of_pack(Path(base), run / "base") if is_pack(Path(base)) else base_folders.base_folder(base)


def load(base: Path, config: Config) -> tuple[nn.Module, Any]:
    """The model, with adapters or whole, and its tokenizer. Raises ConfigError for modules that it has not."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, config.base_precision))
    if config.new_tokens:
        tokenizer.add_tokens(list(config.new_tokens))
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))
    model.config.use_cache = False
    if config.method == "lora":
        model = adapted(model, config)
    freeze({name.removeprefix("base_model.model."): weight for name, weight in model.named_parameters()}, config.frozen)
    if config.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if config.shard:
        shards.shard(model, config.training.device)
    return model, tokenizer


def adapted(model: Any, config: Config) -> Any:
    """The PEFT model around it: adapters, and the embeddings of new tokens whole. Raises ConfigError."""
    from peft import LoraConfig, get_peft_model

    whole = list(config.lora.modules_to_save)
    if config.new_tokens:
        tied = model.get_output_embeddings() is None or model.config.tie_word_embeddings
        whole += ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    names = [name for name, _ in model.named_modules()]
    for wanted in (*config.lora.target_modules, *whole):
        if not any(re.search(rf"(^|\.){re.escape(wanted)}$", name) for name in names):
            known = sorted({name.rsplit(".", 1)[-1] for name in names if name and not name[-1].isdigit()})
            raise ConfigError(f"lora: the base has no module {wanted}, expected some of {', '.join(known)}")
    adapters = LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=list(config.lora.target_modules),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, adapters)
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in whole:
            module.requires_grad_(True)
    for parameter in model.parameters():
        if parameter.requires_grad:  # steps are too small for a half-precision weight to notice
            parameter.data = parameter.data.float()
    return model


def unsharded(model: nn.Module, base: Path, config: Config, main: bool) -> nn.Module:
    """The model itself, or a whole one with its weights in the main process; the others only give their parts."""
    if not shards.sharded(model):
        return model
    weights = checkpoint.weights(model)
    if main:
        model, _ = load(base, dataclasses.replace(config, shard=False))
        checkpoint.restore_weights(model, weights, "the weights of a sharded model")
    return model


def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, float]:
    """Summed cross-entropy of the assistant's tokens, and how many they are."""
    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    targets = batch["labels"][:, 1:]  # logits [B, T, V] at t are of the token at t + 1
    learnt = targets != IGNORED
    # Only learnt places become float32 [N, V]: of a chat, most tokens are read.
    summed = functional.cross_entropy(logits[:, :-1][learnt].float(), targets[learnt], reduction="sum")
    return summed, float(learnt.sum())


def mean_loss(model: nn.Module, rows: Sequence[Row], config: Config) -> float:
    """Cross-entropy a token that the assistant writes, in nats."""
    summed = counted = 0.0
    device = next(model.parameters()).device
    for i in range(0, len(rows), config.rows):
        batch = tensors([[row] for row in rows[i : i + config.rows]])
        one, count = loss(model, {name: value.to(device) for name, value in batch.items()})
        summed, counted = summed + float(one), counted + count
    return summed / counted


def encoded(encoder: Encoder, dialogues: Sequence[Dialogue], size: int) -> list[Row]:
    """Rows of dev with a reply within `size` tokens, shortest first. Raises DataError where there is none."""
    rows = [cut(row, size) for dialogue in dialogues for row in encoder.rows(dialogue)]
    found = sorted((row for row in rows if any(row.written)), key=lambda row: len(row.ids))
    if not found:
        raise DataError(f"dev: got no reply within {size} tokens, expected at least one")
    return found
