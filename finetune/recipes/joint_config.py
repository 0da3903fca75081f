"""Configuration of the joint recipe; `configs/joint.yaml` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.joint.edges import Edge
from finetune.loop import Training
from finetune.recipes import language_config, recognizer_config, synthesizer_coqui_config, synthesizer_starter_config


@dataclass(frozen=True)
class Edges:
    """`edges:`; without a weight an edge is not there."""

    chain: Edge = field(default_factory=Edge)
    """Text -> voice -> recognizer -> the text: the crossing is the waveform, into the voice."""
    transcript: Edge = field(default_factory=Edge)
    """The reply's loss after the recognizer's own words: the crossing is its posteriors, into the recognizer."""
    reply_to_voice: Edge = field(default_factory=Edge)
    """The reply's hidden states into the voice, whose speech the recognizer hears: the crossing is the hidden states,
    into the language model."""
    sequence: Edge = field(default_factory=Edge)
    """The reply's expected loss over drawn hypotheses: the crossing is their likelihoods, into the recognizer."""
    unpaired: Edge = field(default_factory=Edge)
    """What is heard in recordings without a text, again: by the recognizer in the recording made harder, and, with the
    weight of `chain`, text -> voice -> recognizer, where the crossing is the waveform, into the voice. The two have
    weights of their own, since people are to be heard far more than the voice in training."""
    agreement: float = 0.0
    """Weight of the divergence between replies after the right text and after the transcript; with `transcript`."""


@dataclass(frozen=True)
class Shares:
    """`rates:`, what each model gets of the learning rate."""

    recognizer: float = 1.0
    language: float = 1.0
    voice: float = 1.0
    gate: float = 1.0


@dataclass(frozen=True)
class Limits:
    """`limits:`, by which the rung is chosen; 0 is none."""

    memory_gb: float = 0.0
    minutes: float = 0.0


@dataclass(frozen=True)
class Config:
    """finetune/configs/joint.yaml."""

    run: str
    """Folder of this run; those of the three models lie in it."""
    recognizer: recognizer_config.Config
    """As in the recognizer recipe; its `run` is a name below this run. Its training is the first stage."""
    language: language_config.Config
    voice: synthesizer_starter_config.Config | synthesizer_coqui_config.Config
    """Its `engine` says which."""
    noisy: Training | None = None
    """Second stage: the language model reads what the recognizer heard. Absent: no such stage."""
    joint: Training | None = None
    """Third stage: all three models, with edges."""
    finish: Training | None = None
    """Fourth stage: the voice alone, with the chain."""
    edges: Edges = field(default_factory=Edges)
    rates: Shares = field(default_factory=Shares)
    voice_clips: bool = False
    """The recognizer learns from the voice's recordings too."""
    recognizer_clips: bool = False
    """The voice learns from the recognizer's recordings too; their speakers become voices."""
    texts: tuple[str, ...] = ()
    """Files of sentences, one a line, for the chain; empty: the texts of the recordings, and replies."""
    unpaired: tuple[str, ...] = ()
    """Manifests of recordings without texts, or whose texts are not looked at, for `edges.unpaired`."""
    least_confidence: float = -0.2
    """What is heard in them is learnt if it is as sure as that: mean natural logarithm of the tokens' probabilities;
    -0.2 is a probability of 0.82 a token."""
    rows: int = 4
    """Dialogues, texts of the chain, and recordings of `unpaired`, in a batch."""
    heard_share: float = 0.5
    """Second stage: share of the dialogues that have a clip and are read as heard."""
    temperature: float = 1.0
    """Of the recognizer's posteriors in the transcript edge."""
    hypotheses: int = 4
    """Drawn for each clip, with `sequence`."""
    spoken_input: bool = False
    """The pack's: transcripts are words alone before the language model reads them."""
    rung: Literal["auto", "full", "every", "cached", "staged"] = "auto"
    """How much of it is done; auto: what fits `limits`, by a few measured steps."""
    every: int = 4
    """With rung every: the edges count in each such step."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in ("rows", "every", "hypotheses"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.least_confidence > 0:
            raise ValueError(f"least_confidence: got {self.least_confidence}, expected a logarithm, 0 or less")
        if self.edges.unpaired.weight and not self.unpaired:
            raise ValueError("edges.unpaired: got a weight without unpaired, expected manifests of recordings")
        if self.edges.agreement and not self.edges.transcript.weight:
            raise ValueError("edges.agreement: got a weight without one of edges.transcript, expected both")
