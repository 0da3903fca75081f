"""Configuration of the language recipe; `configs/language.yaml` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.loop import Training


@dataclass(frozen=True)
class Lora:
    """`lora:`, as in PEFT."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    modules_to_save: tuple[str, ...] = ()
    """Modules that are trained whole, for instance lm_head; only a merged model can carry them."""


@dataclass(frozen=True)
class Noise:
    """`noise:`, user turns as a recognizer would hear them."""

    confusions: str = ""
    """File of `python -m finetune.recipes.language_noise`; empty: none."""
    share: float = 0.3
    """Of the user turns in training."""
    word_rate: float = 0.2
    """Of their words, among those that are ever misheard."""


@dataclass(frozen=True)
class Rehearsal:
    """`rehearsal:`, dialogues of what must not be forgotten."""

    data: tuple[str, ...] = ()
    share: float = 0.2
    """Of each epoch's dialogues."""

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share: got {self.share}, expected 0 to less than 1")


@dataclass(frozen=True)
class Export:
    """`export:`."""

    form: Literal["both", "adapter", "merged"] = "both"
    """adapter: for vLLM; merged: for the embedded engine."""
    quantization: Literal["int8", "float32", "float16", "bfloat16"] = "int8"
    """Of the merged model's file; the embedded engine computes in int8 in any case."""
    parity_prompts: int = 20
    """Dialogues of dev that exports answer as the trainer does."""
    parity_tokens: int = 64
    """Longest reply in that."""
    tie_nats: float = 0.5
    """By how much less likely than its own choice the trainer may find a token of the exported model: rounding to int8
    decides near ties otherwise, in a model of 4 million parameters those of 0.31. 0: replies are the same.
    """


@dataclass(frozen=True)
class Config:
    """finetune/configs/language.yaml."""

    run: str
    """Folder of this run."""
    base: str
    """Hugging Face folder of a Llama- or Qwen-style chat model, its hub name, or the folder of a pack with a Llama."""
    data: tuple[str, ...]
    """Manifests of dialogues. Those of split test are left alone."""
    training: Training
    dev_share: float = 0.1
    """Of the dialogues that have no split; the same request is never in both."""
    prompt: str = ""
    """Instructions of dialogues that have none; the pack's own."""
    method: Literal["lora", "full"] = "lora"
    """full: every weight of the model, which is exported merged alone."""
    lora: Lora = field(default_factory=Lora)
    frozen: tuple[str, ...] = ()
    """Patterns of the base's names of weights that stay, and whose adapters stay out: model.layers.[0-5].*"""
    new_tokens: tuple[str, ...] = ()
    """Added to the tokenizer, with embeddings trained whole; only a merged model can carry them."""
    batching: Literal["packed", "bucketed"] = "packed"
    """Several dialogues in a row, which do not see each other; or rows of about one length."""
    rows: int = 8
    """Of a batch."""
    row_tokens: int = 1024
    """Longest row; what is longer loses its end."""
    noise: Noise = field(default_factory=Noise)
    rehearsal: Rehearsal = field(default_factory=Rehearsal)
    gradient_checkpointing: bool = False
    """Less memory for a third more time."""
    shard: bool = False
    """With several processes, each keeps a part of every layer alone: for a model that is too large for one device."""
    base_precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the frozen weights in memory."""
    export: Export = field(default_factory=Export)

    def __post_init__(self) -> None:
        if self.method == "full":
            if self.export.form != "merged":
                raise ValueError(f"export.form: got {self.export.form!r} with method full, expected merged")
            if self.base_precision != "float32":  # steps are too small for a half-precision weight to notice
                raise ValueError(f"base_precision: got {self.base_precision} with method full, expected float32")
        if self.export.form != "merged" and (self.lora.modules_to_save or self.new_tokens):
            # vllm-project/vllm issues 9280 (modules_to_save), 28382 and 28545 (extra vocabulary).
            raise ValueError(
                f"export.form: got {self.export.form!r} with new_tokens or lora.modules_to_save, expected merged: "
                f"vLLM loads no such adapter"
            )
