"""Configuration of cloned voices; `configs/synthesizer_xtts.yaml` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.loop import Training


@dataclass(frozen=True)
class Export:
    """`export:`."""

    parity_texts: int = 3
    """Texts of dev that the exported voice says as the trainer does."""
    parity_difference: float = 0.001
    """Largest difference of any sample, where full scale is 1."""


@dataclass(frozen=True)
class Config:
    """finetune/configs/synthesizer_xtts.yaml."""

    engine: Literal["coqui-xtts"]
    run: str
    """Folder of this run."""
    base: str
    """An XTTS checkpoint, its folder or its name on the Hugging Face hub: config.json, vocab.json, model.pth, and
    dvae.pth, which makes codes of audio."""
    data: tuple[str, ...]
    """Manifests of speech in languages of the base. Rows of split test are left alone."""
    licence: str
    """Of the trained voice, as pack.toml has it; that of XTTS v2 is CPML."""
    training: Training
    reference: str = ""
    """Id of the row of train whose voice is cloned when the pack is served; empty: the longest that can be learnt from.
    Its `consent` goes into the pack: without it no voice is cloned."""
    rows: int = 4
    """Of a batch."""
    longest_s: float = 11.0
    """Seconds; longer clips are left out, as those that the base has no room for."""
    export: Export = field(default_factory=Export)

    def __post_init__(self) -> None:
        if not self.licence:
            raise ValueError("licence: got nothing, expected that of the trained voice, for instance CPML")
