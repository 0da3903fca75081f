"""Configuration of the recognizer recipe; `configs/recognizer.yaml` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.loop import Training


@dataclass(frozen=True)
class Lora:
    """`lora:`, as in PEFT; merged into the weights for export, since CTranslate2 serves no adapters."""

    r: int = 32
    alpha: int = 64
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


@dataclass(frozen=True)
class Augment:
    """`augment:`, recordings made harder: speed, pitch, rooms, codecs, and noise where there is any."""

    share: float = 0.0
    """Of the clips of an epoch. Their features are computed anew each time, which takes most of a small CPU."""
    noise: str = ""
    """Folder with recordings of noise; empty: none."""

    def __post_init__(self) -> None:
        _share("share", self.share)


@dataclass(frozen=True)
class Rehearsal:
    """`rehearsal:`, recordings of what must not be forgotten."""

    data: tuple[str, ...] = ()
    share: float = 0.2
    """Of each epoch's clips."""

    def __post_init__(self) -> None:
        _share("share", self.share)


@dataclass(frozen=True)
class Average:
    """`export.average:`, weights between the base's and the trained ones, chosen on dev."""

    shares: tuple[float, ...] = ()
    """Of the base that are tried, beside none; empty: the trained weights are exported."""
    may_rise: float = 0.01
    """By how much the error rate on dev of what is rehearsed may be above the base's."""

    def __post_init__(self) -> None:
        for share in self.shares:
            _share("average.shares", share)


@dataclass(frozen=True)
class Export:
    """`export:`."""

    average: Average = field(default_factory=Average)
    quantization: Literal["int8", "float32", "float16", "int8_float16"] = "int8"
    """Of the exported file. A CPU computes the float16 ones in float32."""
    parity_clips: int = 20
    """Clips of dev that the export hears as the trainer does."""
    tie_nats: float = 1.0
    """By how much less likely than its own choice the trainer may find a token of the export: rounding to int8 decides
    near ties otherwise, in a model of 4 million parameters that is still unsure those of 0.64. 0: texts are the same.
    """


@dataclass(frozen=True)
class Config:
    """finetune/configs/recognizer.yaml."""

    run: str
    """Folder of this run."""
    base: str
    """A Whisper: Hugging Face folder, hub name, or a language pack, whose recognizer is taken."""
    data: tuple[str, ...]
    """Manifests with splits, of one language. Rows of split test are left alone."""
    training: Training
    method: Literal["full", "lora"] = "full"
    lora: Lora = field(default_factory=Lora)
    frozen: tuple[str, ...] = ()
    """Patterns of weights that stay as they are, for instance model.encoder.layers.[01].*"""
    language_token: str = ""
    """Whisper's code of another language, whose token stands in for this one's; empty: its own."""
    new_token_like: str = ""
    """For a language that the vocabulary lacks: it gets a token, which begins as a copy of this language's."""
    text: Literal["kept", "words"] = "kept"
    """words: in lower case, without punctuation but apostrophes within words, as the starter writes."""
    audio_context: Literal["own", "full"] = "own"
    """own: the encoder sees a clip and `margin_seconds`, as the pack's trained_short has it served; full: 30 s."""
    margin_seconds: float = 0.4
    """The pack's [recognizer] margin_seconds."""
    padded_share: float = 0.0
    """Of the batches with audio_context=own that are padded to 30 s, so that stock decoders work too; each costs as
    much as about ten others."""
    rows: int = 16
    """Clips of a batch."""
    spec_augment: float = 0.5
    """Share of the clips that get SpecAugment's masks."""
    augment: Augment = field(default_factory=Augment)
    silence_share: float = 0.02
    """Of the clips of an epoch that are made up: noise in which nobody speaks, so that it goes on to write nothing."""
    translation_share: float = 0.0
    """Of the clips with a translation, those that are learnt to be translated into English."""
    rehearsal: Rehearsal = field(default_factory=Rehearsal)
    dev_clips: int = 200
    """Of dev that are heard at each look, spread over it."""
    gradient_checkpointing: bool = False
    """Less memory for a third more time."""
    export: Export = field(default_factory=Export)

    def __post_init__(self) -> None:
        for name in ("padded_share", "spec_augment", "silence_share", "translation_share"):
            _share(name, getattr(self, name))
        for name in ("rows", "dev_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.export.average.shares and not self.rehearsal.data:
            raise ValueError("export.average: got shares without rehearsal.data, expected some, whose dev decides")
        if self.language_token and self.new_token_like:
            raise ValueError("new_token_like: got one beside language_token, expected at most one of the two")
        if self.new_token_like and self.method == "lora":
            raise ValueError("new_token_like: got one with method lora, expected full: adapters leave embeddings alone")


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1 and not (value == 1 and name in ("spec_augment", "padded_share", "translation_share")):
        raise ValueError(f"{name}: got {value}, expected 0 to less than 1")
