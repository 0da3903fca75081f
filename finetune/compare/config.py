"""Configuration of a comparison; `configs/compare.yaml` shows it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from app.packs import MANIFEST
from finetune.recipes import joint_config

PLAIN = ("base", "separate", "shared", "noisy", "joint")
WITHOUT = "joint-without-"
STAGES = ("recognizer", "language", "voice")


@dataclass(frozen=True)
class Shares:
    """`shares:`, how the seconds of an arm are shared out."""

    noisy: float = 0.1
    """Of all seconds, in arms with this stage; the same of the two below."""
    joint: float = 0.3
    finish: float = 0.05
    recognizer: float = 0.45
    """Of what is left for the first stage; the same of those below, together 1."""
    language: float = 0.2
    vocoder: float = 0.05
    voice: float = 0.3

    def __post_init__(self) -> None:
        first = self.recognizer + self.language + self.vocoder + self.voice
        if abs(first - 1) > 1e-6:
            raise ValueError(f"recognizer, language, vocoder, voice: got {first:g} together, expected 1")
        if not 0 <= self.noisy + self.joint + self.finish < 1:
            raise ValueError(
                f"noisy, joint, finish: got {self.noisy + self.joint + self.finish:g}, expected less than 1"
            )


@dataclass(frozen=True)
class Size:
    """What the arms learn from, in one amount: manifests."""

    recognizer: tuple[str, ...]
    language: tuple[str, ...]
    voice: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    """finetune/configs/compare.yaml."""

    run: str
    """Folder of the comparison."""
    joint: joint_config.Config
    """The recipe whose parts the arms are. All three bases are one pack; data and budgets are filled in. Its rung is
    `every` or, whatever else it says, `full`. Manifests of `unpaired` that a size learns from with their texts are
    nothing new to it and left out there; where none is left, so is the edge."""
    settings: str
    """A pack's folder or pack.toml: settings of the packs that are built and measured."""
    sizes: dict[str, Size]
    """By name, the smallest first."""
    data: tuple[str, ...]
    """Manifests of kept-out speakers; of split test."""
    dialogues: tuple[str, ...]
    """The right replies to what they say; of split test."""
    old_data: tuple[str, ...] = ()
    """Manifests of what must not be forgotten; empty: the base has no old language."""
    judge: str = ""
    """Who judges the voices: a folder of `parley finetune judge`, or a pack; empty: PocketSphinx for English,
    else nobody."""
    seconds: float = 60.0
    """Of CPU, or of the clock of an accelerator, that each arm trains."""
    shares: Shares = field(default_factory=Shares)
    seeds: tuple[int, ...] = (1, 2, 3)
    arms: tuple[str, ...] = ()
    """base, separate, shared, noisy, joint, joint-without-EDGE; empty: all, with each edge that has a weight."""
    at_once: int = 1
    """Arms that are trained side by side."""

    def __post_init__(self) -> None:
        if self.joint.voice.engine != "starter":  # whose networks the seconds of an arm are shared among
            raise ValueError(f"joint: voice.engine: got {self.joint.voice.engine}, expected starter")
        bases = {self.joint.recognizer.base, self.joint.language.base, self.joint.voice.base}
        if len(bases) > 1 or not (Path(self.base) / MANIFEST).is_file():
            raise ValueError(
                f"joint: base: got {', '.join(sorted(bases))}, expected one pack for all three, that is there; that of "
                "finetune/configs/compare.yaml is made by `python -m finetune.compare.prepare`"
            )
        if unknown := [arm for arm in self.arms if arm not in self.every_arm]:
            raise ValueError(f"arms: got {', '.join(unknown)}, expected some of {', '.join(self.every_arm)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: got {self.seeds}, expected one or more, none twice")
        if self.seconds <= 0 or self.at_once < 1 or not self.sizes:
            raise ValueError("seconds, at_once, sizes: expected more than 0, 1 or more, at least one")

    @property
    def base(self) -> str:
        """The pack that every arm begins with."""
        return self.joint.recognizer.base

    @property
    def every_arm(self) -> tuple[str, ...]:
        """All that can be compared."""
        weights = dataclasses.asdict(self.joint.edges)
        edges = [name for name, edge in weights.items() if (edge["weight"] if isinstance(edge, dict) else edge)]
        return (*PLAIN, *(WITHOUT + name for name in edges))

    @property
    def compared(self) -> tuple[str, ...]:
        """Those that are, in this order."""
        return tuple(arm for arm in self.every_arm if not self.arms or arm in self.arms)

    def unpaired(self, size: str) -> tuple[str, ...]:
        """Manifests whose recordings a size hears without their texts."""
        return tuple(name for name in self.joint.unpaired if name not in self.sizes[size].recognizer)

    def compared_at(self, size: str) -> tuple[str, ...]:
        """`compared` less what would be the same as `joint` there."""
        same = () if self.unpaired(size) else (WITHOUT + "unpaired",)
        return tuple(arm for arm in self.compared if arm not in same)
