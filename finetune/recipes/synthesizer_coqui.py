"""Coqui's kind of voice: a VITS or MMS checkpoint on recordings, from data to an exported voice, in numbered steps.

Runs in the environment of Coqui TTS (`make coqui`). The loop is ours: Coqui's own restores neither its sources of
chance nor its place in the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from finetune import checkpoint
from finetune import dry_run as estimates
from finetune.adversarial_loop import Task, estimate, train
from finetune.data_of_run import utterances
from finetune.errors import ConfigError
from finetune.freezing import freeze
from finetune.recipes import synthesizer_coqui_export as export
from finetune.recipes.synthesizer_coqui_batches import Batches
from finetune.recipes.synthesizer_coqui_config import Config
from finetune.recipes.synthesizer_coqui_voice import Voice, load
from finetune.run import open_run

__all__ = ["Config", "run"]


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError, PackError."""
    # 1. Data; the base, with its letters and speakers
    data = utterances(config.data, config.training)
    known = {row.speaker for row in data.train}
    if strangers := set(config.speakers) - known:
        raise ConfigError(f"speakers: the data has no {', '.join(sorted(strangers))}, only {', '.join(sorted(known))}")
    rows = [row for row in data.train if row.speaker in (config.speakers or known)]
    checkpoint.seed_everything(config.training.seed)
    voice = load(config.base, rows, config.speakers, extend=config.extend_characters)
    freeze(dict(voice.model.named_parameters()), config.frozen)

    # 2. Batches, and the dev split that is looked at
    batches = Batches(voice, rows, config, "train")
    dev = Batches(voice, data.dev, config, "dev")
    print(batches.summary())

    # 3. Both networks' losses, and what is measured on dev
    losses = Losses(voice)
    task = Task(
        voice.model,
        voice.discriminator,
        batches.batch,
        losses.generate,
        losses.discriminator_loss,
        losses.generator_losses,
        lambda model: losses.on_dev(model, dev),
    )

    # 4. A dry run ends here
    if dry_run:
        print(estimates.show(estimate(task, config.training), config.training))
        return

    # 5. The run folder; the ledger learns whose voices are in it
    prints = {**data.fingerprints, "base": voice.fingerprint}
    opened = open_run(Path(config.run), "synthesizer", config, data=prints, seed=config.training.seed, resume=resume)
    data.note(opened)

    # 6. Training, from the checkpoint where there is one
    train(task, config.training, opened)

    # 7. Export, proved against the trainer on texts of dev
    if opened.main:
        export.export(opened, voice, dev.clips, config)


class Losses:
    """What VITS is trained by (https://arxiv.org/abs/2106.06103), made of Coqui's parts."""

    def __init__(self, voice: Voice) -> None:
        self._vits = voice.model
        self._of_discriminator, self._of_generator = voice.model.get_criterion()

    def generate(self, model: nn.Module, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """A batch with what the network makes of it: a stretch of each clip [B, 1, S], and its inner states."""
        with torch.no_grad():
            batch = self._vits.format_batch_on_device(dict(batch))  # spectrograms
        numbers = {name: batch.get(name) for name in ("speaker_ids", "language_ids")}
        made: Mapping[str, Any] = model(
            batch["tokens"],
            batch["token_lens"],
            batch["spec"],
            batch["spec_lens"],
            batch["waveform"],
            aux_input={"d_vectors": None, **numbers},
        )
        return {**batch, **made}

    def discriminator_loss(self, discriminator: nn.Module, made: Mapping[str, Any]) -> Tensor:
        """How well it tells stretches from what was recorded there."""
        of_made, _, of_recorded, _ = discriminator(made["model_outputs"], made["waveform_seg"])
        return torch.as_tensor(self._of_discriminator(of_recorded, of_made)["loss"])

    def generator_losses(self, discriminator: nn.Module, made: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weighted as the checkpoint's configuration says; their sum is minimised."""
        of_made, like_made, _, like_recorded = discriminator(made["model_outputs"], made["waveform_seg"])
        expected, got = self._mels(made)
        found = self._of_generator(
            mel_slice=expected,
            mel_slice_hat=got,
            z_p=made["z_p"],
            logs_q=made["logs_q"],
            m_p=made["m_p"],
            logs_p=made["logs_p"],
            z_len=made["spec_lens"],
            scores_disc_fake=of_made,
            feats_disc_fake=like_made,
            feats_disc_real=like_recorded,
            loss_duration=made["loss_duration"],
        )
        return {
            "mel_loss": found["loss_mel"],
            "kl_loss": found["loss_kl"],
            "duration_loss": found["loss_duration"],
            "adversarial_loss": found["loss_gen"],
            "feature_loss": found["loss_feat"],
        }

    def on_dev(self, model: nn.Module, dev: Batches) -> dict[str, float]:
        """Mean distance of log-mel spectra in nats, and the text side's losses; the same stretches each time."""
        sums = dict.fromkeys(("dev_mel_distance", "dev_kl_loss", "dev_duration_loss"), 0.0)
        device = next(model.parameters()).device
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for clips in dev.all():
                batch = {name: tensor.to(device) for name, tensor in dev.tensors(clips).items()}
                made = self.generate(model, batch)
                expected, got = self._mels(made)
                mask = (torch.arange(made["z_p"].shape[-1], device=device) < made["spec_lens"][:, None])[:, None]
                states = (made[name] for name in ("z_p", "logs_q", "m_p", "logs_p"))
                kl = self._of_generator.kl_loss(*states, mask)
                found = (functional.l1_loss(got, expected), kl, made["loss_duration"].sum())
                for name, value in zip(sums, found, strict=True):
                    sums[name] += float(value) * len(clips)
        return {name: value / len(dev.clips) for name, value in sums.items()}

    def _mels(self, made: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Log-mel spectra [B, bands, frames] of the recorded and of the made stretches."""
        from TTS.tts.utils.helpers import segment
        from TTS.utils.audio.torch_transforms import wav_to_mel

        vits, audio = self._vits, self._vits.config.audio
        frames = vits.spec_segment_size * (int(vits.interpolate_factor) if vits.args.encoder_sample_rate else 1)
        got = wav_to_mel(
            made["model_outputs"].float(),
            n_fft=audio.fft_size,
            num_mels=audio.num_mels,
            sample_rate=audio.sample_rate,
            hop_length=audio.hop_length,
            win_length=audio.win_length,
            fmin=audio.mel_fmin,
            fmax=audio.mel_fmax,
        )
        return segment(made["mel"], made["slice_ids"], frames, pad_short=True), got
