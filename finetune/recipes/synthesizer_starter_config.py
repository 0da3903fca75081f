"""Configuration of the starter's kind of voice; `configs/synthesizer.yaml` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.loop import Training


@dataclass(frozen=True)
class Size:
    """`size:` of networks that begin from nothing; with `base` they are as large as the base's."""

    width: int = 192
    encoder: int = 4
    """Blocks over symbols."""
    tone: int = 2
    """Blocks over frames that make the pitch."""
    decoder: int = 5
    """Blocks over frames that make the mel spectrum."""
    vocoder: int = 3
    """Blocks of the vocoder."""


@dataclass(frozen=True)
class Export:
    """`export:`."""

    mel_sharpening: float = 1.08
    """Factor on each band's deviation from its mean: predictions vary less than speech does."""
    pitch_sharpening: float = 1.25
    """Factor on the pitch's deviation from the voice's mean, in logarithms."""
    parity_texts: int = 8
    """Texts of dev that the exported voice says as the trainer does."""
    parity_nats: float = 0.1
    """Largest difference of any band of the two log-mel spectra, in nats."""


@dataclass(frozen=True)
class Config:
    """finetune/configs/synthesizer.yaml."""

    engine: Literal["starter"]
    run: str
    """Folder of this run."""
    data: tuple[str, ...]
    """Manifests of speech in one language. Rows of split test are left alone."""
    training: Training
    """Of the acoustic model: symbols to durations, pitch and mel spectrum."""
    vocoder: Training
    """Of the vocoder: mel spectrum and pitch to filters."""
    base: str = ""
    """A pack, or the folder of its voice, whose networks training begins from; empty: from nothing."""
    speakers: tuple[str, ...] = ()
    """Which of the data become voices, the first is the default; empty: all, most speech first."""
    symbols: Literal["characters", "lexicon"] = "characters"
    letters: str = ""
    """With `characters`: the language's own letters, in lower case, with the apostrophe where it is one. Others lose
    their marks (é -> e), or are an error in the data; what is to be said later is also put into Latin letters."""
    lexicon: str = ""
    """With `lexicon`: a manifest of `parley data import lexicon`."""
    said: tuple[str, ...] = ()
    """How signs and digits are said that the service does not know in this language: "%=prozent", "3=tri"."""
    batch: int = 12
    """Utterances, and stretches of 0.7 s for the vocoder."""
    size: Size = field(default_factory=Size)
    frozen: tuple[str, ...] = ()
    """Patterns of weights that stay: acoustic.encoder.*, vocoder.*"""
    export: Export = field(default_factory=Export)

    def __post_init__(self) -> None:
        if self.symbols == "characters" and not self.letters:
            raise ValueError("letters: got nothing, expected the language's letters, for instance abcdefg...")
        if self.symbols == "lexicon" and not self.lexicon:
            raise ValueError("lexicon: got nothing, expected a manifest of `parley data import lexicon`")
        for one in self.said:
            written, equals, words = one.partition("=")
            if len(written) != 1 or not equals or not words:
                raise ValueError(f"said: got {one!r}, expected one character, =, and words, for instance %=prozent")
