"""The three models of joint training with what belongs to each, made by the separate recipes' functions.

Each begins with the best weights of its own run, which is the first stage; or with those of its base, to be measured.
Knows no edge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from app.workers.whisper_windows import Windows
from finetune import checkpoint
from finetune.data.rows import Dialogue, Utterance
from finetune.data_of_run import RunData, dialogues, utterances
from finetune.joint.voice_gate import Gate
from finetune.loop import Task
from finetune.recipes import (
    language,
    language_config,
    language_export,
    recognizer,
    recognizer_config,
    recognizer_export,
    synthesizer_coqui_config,
    synthesizer_starter,
    synthesizer_starter_config,
    synthesizer_starter_export,
)
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_pairs import Pair, Pairs
from finetune.recipes.joint_part_coqui import CoquiPart, load_coqui
from finetune.recipes.joint_unpaired import Unpaired
from finetune.recipes.joint_voice import StarterVoice
from finetune.recipes.language_batches import Batches as LanguageBatches
from finetune.recipes.language_rows import Encoder as ChatEncoder
from finetune.recipes.recognizer_batches import Batches as RecognizerBatches
from finetune.recipes.recognizer_clips import Features
from finetune.recipes.recognizer_measure import Dev, spread
from finetune.recipes.recognizer_model import Network, add_token, load, prepare
from finetune.recipes.recognizer_rows import Encoder as Vocabulary
from finetune.recipes.synthesizer_starter_data import Reading, reading_of, recordings_of, voices_of
from finetune.run import Run
from finetune.starter.voice_acoustic import Acoustic
from finetune.starter.voice_export import Sharpening
from finetune.starter.voice_vocoder import FilterNetwork


@dataclass(frozen=True)
class Recognizer:
    """A Whisper in training."""

    config: recognizer_config.Config
    network: Network
    tokenizer: Any
    vocabulary: Vocabulary
    data: RunData[Utterance]
    batches: RecognizerBatches
    windows: Windows
    dev: Dev
    base: Path
    language: str
    code: str

    def export(self) -> None:
        """Into its run, anew. Raises ParityError, ExportError."""
        recognizer_export.export(
            run_of(self.config),
            self.network,
            self.tokenizer,
            self.vocabulary,
            self.data.dev,
            self.windows,
            self.base,
            self.language,
            self.code,
            self.config,
        )


@dataclass(frozen=True)
class Language:
    """A chat model with adapters."""

    config: language_config.Config
    model: Any
    tokenizer: Any
    encoder: ChatEncoder
    data: RunData[Dialogue]
    batches: LanguageBatches
    base: Path

    def unsharded(self, main: bool) -> Language:
        """With a whole model in the main process; all processes ask at once."""
        return dataclasses.replace(self, model=language.unsharded(self.model, self.base, self.config, main))

    def export(self) -> None:
        """Into its run, anew. Raises ParityError, ExportError."""
        config = self.config
        language_export.export(
            run_of(config),
            self.model,
            self.tokenizer,
            self.encoder,
            self.data.dev,
            self.base,
            config.base,
            config.export,
        )


@dataclass(frozen=True)
class Voice:
    """The starter's kind of voice; `CoquiPart` is the other one."""

    config: synthesizer_starter_config.Config
    model: StarterVoice
    task: Task
    """Of its acoustic model."""
    reading: Reading
    voices: Sequence[str]
    data: RunData[Utterance]
    scale: Any

    def export(self) -> None:
        """Into its run, anew. Raises ParityError, ExportError."""
        dev = [row for row in self.data.dev if row.speaker in self.voices]
        synthesizer_starter_export.export(
            run_of(self.config),
            self.model.acoustic,
            self.model.vocoder,
            self.scale,
            self.reading,
            self.voices,
            dev,
            self.config.export,
            self.task,
        )


@dataclass(frozen=True)
class Parts:
    """All that the stages after the first are made of."""

    config: Config
    recognizer: Recognizer
    language: Language
    voice: Voice | CoquiPart
    gate: Gate
    pairs: Pairs
    dev_pairs: Sequence[Pair]
    texts: Sequence[str]
    """For the chain."""
    unpaired: Unpaired | None = None
    """Once the recognizer has heard recordings without a text."""


def models_of(parts: Parts) -> nn.ModuleDict:
    """By name."""
    return nn.ModuleDict(
        {
            "recognizer": parts.recognizer.network,
            "language": parts.language.model,
            "voice": parts.voice.model,
            "gate": parts.gate,
        }
    )


def load_recognizer(config: recognizer_config.Config, trained: bool = True) -> Recognizer:
    """Steps 1 to 3 of the recognizer recipe, with the best weights of its run if it is `trained`."""
    checkpoint.seed_everything(config.training.seed)
    data, old = (utterances(names, config.training) for names in (config.data, config.rehearsal.data))
    spoken = recognizer.language_of([*data.train, *data.dev])
    base = recognizer.whisper_folder(config.base, Path(config.run) / "base")
    network, tokenizer = load(base, config)
    code = recognizer.language_code(tokenizer.backend_tokenizer, network.multilingual, spoken, config)
    if config.new_token_like:
        tokenizer = add_token(network, base, f"<|{code}|>", f"<|{config.new_token_like}|>")
    network = prepare(network, config)
    vocabulary = Vocabulary(tokenizer.backend_tokenizer, network.multilingual, config.text, {spoken: code})
    mels = network.whisper.config.num_mel_bins
    learnt, rehearsed = (recognizer.usable(rows, vocabulary, network, config) for rows in (data.train, old.train))
    batches = RecognizerBatches(config, vocabulary, Features(config, mels), learnt, rehearsed)
    windows = Windows(mels, round(config.margin_seconds * 100) if config.audio_context == "own" else None)
    dev = Dev("dev", spread(data.dev, config.dev_clips), windows, vocabulary, config.rows)
    if trained:
        restore_best(run_of(config), network, data.fingerprints)
    return Recognizer(config, network, tokenizer, vocabulary, data, batches, windows, dev, base, spoken, code)


def load_language(config: language_config.Config, trained: bool = True) -> Language:
    """Steps 1 and 2 of the language recipe, with the best weights of its run if it is `trained`."""
    checkpoint.seed_everything(config.training.seed)
    base = language.base_folder(config.base, Path(config.run))
    model, tokenizer = language.load(base, config)
    encoder = ChatEncoder(tokenizer, language_export.end_tokens(model), config.prompt)
    data = dialogues(config.data, config.training, config.dev_share)
    old = dialogues(config.rehearsal.data, config.training, config.dev_share)
    batches = LanguageBatches(config, encoder, data.train, old.train)
    if trained:
        restore_best(run_of(config), model, data.fingerprints)
    return Language(config, model, tokenizer, encoder, data, batches, base)


def load_voice(
    config: synthesizer_starter_config.Config | synthesizer_coqui_config.Config, trained: bool = True
) -> Voice | CoquiPart:
    """Of Coqui's kind as `load_coqui` says. Of the starter's, steps 1, 2 and 5 of its recipe, with the best weights of
    its runs if it is `trained`; else a few recordings have to do, since to align them all takes minutes."""
    if isinstance(config, synthesizer_coqui_config.Config):
        return load_coqui(config, run_of(config), trained)
    checkpoint.seed_everything(config.training.seed)
    data = utterances(config.data, config.training)
    voices = voices_of(config, data.train)
    rows = [row for row in [*data.train, *data.dev] if row.speaker in voices]
    reading = reading_of(config, rows)
    acoustic, vocoder = synthesizer_starter.networks(config, reading.front.symbols, len(voices))
    run = run_of(config)
    used = rows if trained else synthesizer_starter.tried(rows, config)
    corpus = synthesizer_starter.Corpus(run.folder, recordings_of(used), reading, voices)
    task = corpus.acoustic_task(acoustic, config)
    if trained:
        restore_best(run, acoustic, data.fingerprints)
        restore_best(Run(run.folder / "vocoder", config.vocoder.seed), vocoder, {})
    vocoder.requires_grad_(False)  # only its own loss, which is not here, keeps it a vocoder
    model = voice_of(config, acoustic, vocoder, corpus.scale, reading)
    return Voice(config, model, task, reading, voices, data, corpus.scale)


def voice_of(
    config: synthesizer_starter_config.Config,
    acoustic: Acoustic,
    vocoder: FilterNetwork,
    scale: Any,
    reading: Reading,
) -> StarterVoice:
    """The first voice as it is served."""
    sharpening = Sharpening(config.export.mel_sharpening, config.export.pitch_sharpening)
    return StarterVoice(acoustic, vocoder, scale, sharpening, reading.front)


def run_of(config: Any) -> Run:
    """The run folder of a model, which its recipe has opened."""
    return Run(Path(config.run), config.training.seed)


def restore_best(run: Run, model: nn.Module, data: Mapping[str, str]) -> None:
    """The best weights of a finished run. Raises CheckpointError, and RunError where its data has changed since."""
    run.expect_data(data)
    best = run.best(run.facts()["best_step"])
    checkpoint.restore_weights(model, checkpoint.load(best)["weights"], str(best))
