"""Trains the starter's language model from nothing on generated dialogues. Knows neither export nor evaluation.

Every step draws its dialogues from (seed, step) alone, so that an interrupted run continues as if it had not been.
Shapes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn import functional

from finetune.starter.domain import split_of
from finetune.starter.domain_entities import Entities
from finetune.starter.language_copying import plant_copying
from finetune.starter.language_dialogues import Dialogue, dialogue
from finetune.starter.language_lexicon import lexicon
from finetune.starter.language_muon import Muon
from finetune.starter.language_open_text import outside_requests
from finetune.starter.language_text import encoded, new_tokenizer, packed, renderer, repeated

TURNS: Final = (1, 1, 2, 2, 3, 3, 4, 5, 6)
LONG_TURNS: Final = (1, 2, 3, 4, 6, 8, 12, 16)


@dataclass(frozen=True)
class Training:
    """What decides over a run; the resolved values are saved beside it."""

    seed: int = 1
    steps: int = 1650
    rows: int = 12
    row_tokens: int = 256
    long_row_tokens: int = 768
    long_share: float = 0.15
    """Last share of the steps, with fewer and longer rows: the whole context of the pack is trained."""
    repeat_share: float = 0.02
    """First share of the steps, on random tokens said twice."""
    vocabulary: int = 2048
    hidden: int = 256
    layers: int = 4
    heads: int = 8
    feed_forward: int = 704
    learning_rate: float = 3e-3
    warm_up_steps: int = 60
    decay_share: float = 0.4
    """Last share of the steps, in which the learning rate falls to nothing."""
    weight_decay: float = 0.05
    lexicon_share: float = 0.5
    save_every: int = 50
    log_every: int = 10


def new_model(training: Training) -> Any:
    """A Llama of transformers with random weights, but for the heads that copy."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=training.vocabulary,
        hidden_size=training.hidden,
        intermediate_size=training.feed_forward,
        num_hidden_layers=training.layers,
        num_attention_heads=training.heads,
        num_key_value_heads=training.heads // 2,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=True,
        initializer_range=0.04,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
    )
    model = LlamaForCausalLM(config)
    plant_copying(model, training.seed)
    return model


def draw(e: Entities, *, turns: Sequence[int], early: bool, outside: Sequence[str]) -> Dialogue:
    """One training dialogue; many echoes early on, since copying is learnt first."""
    return dialogue(e, turns=e.rng.choice(turns), echoes=0.25 if early else 0.05, outside=outside)


def train_tokenizer(training: Training) -> Tokenizer:
    """The tokenizer of the generated dialogues."""
    e = Entities(random.Random(f"{training.seed} tokenizer"), 0.0, lexicon(), training.lexicon_share)
    outside = training_requests()

    def texts() -> Iterator[str]:
        for _ in range(8000):
            for message in draw(e, turns=TURNS, early=False, outside=outside).messages:
                if message["content"]:
                    yield message["content"]
                for call in message.get("tool_calls", ()):
                    function = call["function"]
                    yield f'{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}'

    return new_tokenizer(texts(), training.vocabulary)


def training_requests() -> list[str]:
    """Open requests that are not kept out."""
    return [request for request in outside_requests() if split_of(request) == "train"]


class Batches:
    """The rows of each step."""

    def __init__(self, training: Training, tokenizer: Tokenizer) -> None:
        self._training = training
        self._tokenizer = tokenizer
        self._template = renderer()
        self._outside = training_requests()

    def of(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids [B, T + 1] and loss weights [B, T + 1] of a step."""
        training = self._training
        rng = random.Random(f"{training.seed} {step}")
        done = step / training.steps
        if done < training.repeat_share:
            return repeated(rng, training.rows, training.row_tokens, training.vocabulary)
        e = Entities(rng, 0.0, lexicon(), training.lexicon_share)

        long = done > 1 - training.long_share

        def dialogues() -> Iterator[tuple[list[int], list[float]]]:
            while True:
                early = done < 3 * training.repeat_share
                drawn = draw(e, turns=LONG_TURNS if long else TURNS, early=early, outside=self._outside)
                yield encoded(drawn, self._tokenizer, self._template)

        if long:
            rows = max(1, training.rows * training.row_tokens // training.long_row_tokens)
            return packed(dialogues(), rows, training.long_row_tokens)
        return packed(dialogues(), training.rows, training.row_tokens)


def train(training: Training, tokenizer: Tokenizer, folder: Path, *, until: int | None = None) -> Any:
    """Trains, or continues from `folder`; gives the model. `until` stops earlier, with the same schedule."""
    torch.manual_seed(training.seed)
    model = new_model(training)
    optimizers = new_optimizers(model, training)
    checkpoint = folder / "checkpoint.pt"
    first, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        first, seconds = state["step"], state["seconds"]
        print(f"language: continues at step {first}")
    batches = Batches(training, tokenizer)
    model.train()
    last = training.steps if until is None else until
    began, began_cpu, losses, tokens = time.perf_counter(), time.process_time(), [], 0
    for step in range(first, last):
        factor = rate(step, training)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
        ids, weights = (torch.from_numpy(array) for array in batches.of(step))
        # float32: without AVX-512, torch multiplies bfloat16 thirty times slower.
        logits = model(ids[:, :-1], use_cache=False).logits  # [B, T, V]
        loss = weighted_loss(logits, ids[:, 1:], weights[:, 1:])
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
        tokens += ids.numel()
        if (step + 1) % training.log_every == 0:
            wall = time.perf_counter() - began
            left = (training.steps - step - 1) * wall / (step + 1 - first)
            cpu = (seconds + time.process_time() - began_cpu) / 60
            print(
                f"language: step {step + 1}/{training.steps}, loss {np.mean(losses[-training.log_every :]):.3f}, "
                f"{tokens / wall:.0f} tokens/s, {cpu:.1f} core-min, {left / 60:.0f} min left",
                flush=True,
            )
        if (step + 1) % training.save_every == 0 or step + 1 == last:
            state = {
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "step": step + 1,
                "seconds": seconds + time.process_time() - began_cpu,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    return model.eval()


def weighted_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy by weight; logits [B, T, V], targets and weights [B, T]."""
    each = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (each * weights.flatten()).sum() / weights.sum()


def new_optimizers(model: Any, training: Training) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside of the layers, AdamW for embeddings and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    peak = training.learning_rate
    adam = torch.optim.AdamW([{"params": others, "peak": peak}], betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return [adam, Muon([{"params": matrices, "peak": peak}], training.weight_decay)]


def rate(step: int, training: Training) -> float:
    """Factor of the learning rate: warm-up, level, cosine to nothing."""
    left = (training.steps - step) / training.steps / training.decay_share
    return min(1.0, (step + 1) / training.warm_up_steps) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, left)))
