"""A Coqui voice in joint training: what its own recipe has left, its own loss, its export. Knows no edge."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from finetune import checkpoint
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.data_of_run import RunData, utterances
from finetune.freezing import freeze
from finetune.loop import Task
from finetune.recipes import synthesizer_coqui_export
from finetune.recipes.joint_voice_coqui import CoquiVoice
from finetune.recipes.synthesizer_coqui import Losses
from finetune.recipes.synthesizer_coqui_batches import Batches
from finetune.recipes.synthesizer_coqui_config import Config
from finetune.recipes.synthesizer_coqui_voice import Voice, load
from finetune.run import Run

OWN = ("mel_loss", "kl_loss", "duration_loss", "feature_loss")
"""The generator's, against the discriminator that its own recipe has left, whose weights stay: its features still tell
how far speech is from recordings, while its judgement (the adversarial loss) a voice that goes on learning would soon
deceive. What gets worse all the same, dev sees."""


@dataclass(frozen=True)
class CoquiPart:
    """A VITS or MMS voice."""

    config: Config
    model: CoquiVoice
    task: Task
    """Its own loss, in units of the mel spectra's distance: so edges weigh about as much as with the starter's kind."""
    data: RunData[Utterance]
    run: Run
    voice: Voice
    dev: Batches

    def export(self) -> None:
        """Into its run, anew, as it is now: the best weights were chosen on dev of all models. Raises ParityError."""
        as_it_is = dataclasses.replace(self.config.export, weights="last")
        config = dataclasses.replace(self.config, export=as_it_is)
        synthesizer_coqui_export.export(self.run, self.voice, self.dev.clips, config)


def load_coqui(config: Config, run: Run, trained: bool = True) -> CoquiPart:
    """Steps 1 to 3 of the Coqui recipe; if it is `trained` with the weights that its run has exported, and its last
    discriminator's.

    Raises CheckpointError, DataError, and RunError where its data has changed since.
    """
    checkpoint.seed_everything(config.training.seed)
    data = utterances(config.data, config.training)
    rows = [row for row in data.train if not config.speakers or row.speaker in config.speakers]
    voice = load(config.base, rows, config.speakers, extend=config.extend_characters)
    freeze(dict(voice.model.named_parameters()), config.frozen)
    spoken = sorted({row.language for row in rows})
    if voice.languages and len(spoken) > 1:
        raise DataError(f"got recordings in {', '.join(spoken)}, expected one language for a voice in joint training")
    if trained:
        run.expect_data(data.fingerprints)
        _restore(voice, config, run)
    dev = Batches(voice, data.dev, config, "dev")
    model = CoquiVoice(voice, spoken[0])
    return CoquiPart(
        config, model, task_of(voice, model, Batches(voice, rows, config, "train"), dev), data, run, voice, dev
    )


def task_of(voice: Voice, model: CoquiVoice, train: Batches, dev: Batches) -> Task:
    """The voice's own loss in the stages in which the models meet."""
    losses = Losses(voice)
    weights = voice.model.config
    unit = float(weights.mel_loss_alpha)
    of_dev = {
        "dev_mel_distance": 1.0,
        "dev_kl_loss": weights.kl_loss_alpha / unit,
        "dev_duration_loss": weights.dur_loss_alpha / unit,
    }

    def loss(_: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, float]:
        found = losses.generator_losses(model.discriminator, losses.generate(model.vits, batch))
        clips = len(batch["tokens"])
        return sum((found[name] for name in OWN[1:]), found[OWN[0]]) * (clips / unit), clips

    def measure(_: nn.Module) -> dict[str, float]:
        """The text side too, which the edges change: a mel distance alone is that of recordings made again."""
        found = losses.on_dev(model.vits, dev)
        return {"dev_loss": sum(weight * found[name] for name, weight in of_dev.items()), **found}

    return Task(model, train.batch, loss, measure)


def _restore(voice: Voice, config: Config, run: Run) -> None:
    last = checkpoint.load(run.checkpoint)["weights"]
    networks = nn.ModuleDict({"generator": voice.model, "discriminator": voice.discriminator})
    checkpoint.restore_weights(networks, last, str(run.checkpoint))
    if config.export.weights == "best":
        best = run.best(run.facts()["best_step"])
        checkpoint.restore_weights(voice.model, checkpoint.load(best)["weights"], str(best))
