"""Configuration of the judge recipe; `configs/judge_tiny.yaml` shows it."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.loop import Training


@dataclass(frozen=True)
class Config:
    """finetune/configs/judge_tiny.yaml."""

    run: str
    """Folder of this run."""
    data: tuple[str, ...]
    """Manifests with splits, of one language: speakers of whom no pack that is to be judged has learnt anything."""
    training: Training
    """Its seed is another one than that of the packs'."""
    width: int = 256
    """Of each layer."""
    layers: int = 7
    """The seventh hears states of 0.24 s before and behind; all together half a second."""
    dropout: float = 0.1
    """Of what each layer adds."""
    rows: int = 16
    """Clips of a batch."""
    spec_augment: float = 0.5
    """Share of the clips that get SpecAugment's masks."""
    warped: float = 0.7
    """Share of the clips that are heard as from a longer or shorter throat: few voices become many."""
    dev_clips: int = 150
    """Of dev that are heard at each look, spread over it."""

    def __post_init__(self) -> None:
        for name in ("dropout", "spec_augment", "warped"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name}: got {value}, expected 0 to 1")
        for name in ("width", "layers", "rows", "dev_clips"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name}: got {value}, expected 1 or more")
