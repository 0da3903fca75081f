"""Configuration of Coqui's kind of voice; `configs/synthesizer_coqui.yaml` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.loop import Training


@dataclass(frozen=True)
class Export:
    """`export:`."""

    weights: Literal["last", "best"] = "last"
    """best: those whose mel spectra are nearest to dev's, which says little about how a voice sounds."""
    parity_texts: int = 8
    """Texts of dev that the exported voice says as the trainer does."""
    parity_difference: float = 0.001
    """Largest difference of any sample, where full scale is 1."""


@dataclass(frozen=True)
class Config:
    """finetune/configs/synthesizer_coqui.yaml."""

    engine: Literal["coqui-vits"]
    run: str
    """Folder of this run."""
    base: str
    """A VITS or MMS checkpoint of Coqui TTS: its folder, a folder of the Hugging Face hub
    (facebook/mms-tts/models/deu), or a pack with such a voice. A config.json alone is a network of that size, which
    begins from nothing."""
    data: tuple[str, ...]
    """Manifests of speech. Rows of split test are left alone."""
    licence: str
    """Of the trained voice, as pack.toml has it: what the licences of base and data allow."""
    training: Training
    speakers: tuple[str, ...] = ()
    """Which of the data become voices, the first is the default; empty: all, most speech first."""
    extend_characters: bool = False
    """Letters that the base cannot spell get rows of their own, which begin at random; otherwise they are an error."""
    frozen: tuple[str, ...] = ()
    """Patterns of the network's weights that stay: waveform_decoder.*, emb_g.*"""
    rows: int = 16
    """Of a batch."""
    longest_s: float = 12.0
    """Seconds; longer clips are left out, since a batch takes as much memory as its longest."""
    export: Export = field(default_factory=Export)

    def __post_init__(self) -> None:
        if self.training.patience:
            # A mel distance falls early and then rises while an adversary still makes the voice sound better.
            raise ValueError(
                f"training.patience: got {self.training.patience}, expected 0: dev cannot say when to stop"
            )
        if not self.licence:
            raise ValueError("licence: got nothing, expected that of the trained voice, for instance CC0-1.0")
