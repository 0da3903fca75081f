"""A cloned voice: XTTS on recordings, from data to an exported voice, in numbered steps.

Runs in the environment of Coqui TTS (`make coqui`), where the base's weights are present. Trained is what makes audio
codes of text; what makes codes of audio, and sound of codes, stays.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from app.audio import Waveform, to_waveform
from app.packs import Pack, VoiceSettings
from app.workers import connect
from app.workers.coqui_folder import WEIGHTS
from app.workers.coqui_xtts import REFERENCE_RATE, XttsNetwork
from finetune import checkpoint
from finetune import dry_run as estimates
from finetune.data.rows import Utterance
from finetune.data_of_run import utterances
from finetune.errors import ConfigError, ParityError
from finetune.loop import Task, train
from finetune.recipes.synthesizer_coqui_export import compare
from finetune.recipes.synthesizer_xtts_config import Config
from finetune.recipes.synthesizer_xtts_model import Base, Batches, load, waveform
from finetune.run import Run, open_run

__all__ = ["Config", "run"]

TEXT_WEIGHT = 0.01  # of writing the text beside that of the audio codes, as Coqui trains XTTS
REFERENCE = "reference.wav"


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError, PackError."""
    # 1. Data, the base, and the clip that says in which voice it will speak
    data = utterances(config.data, config.training)
    checkpoint.seed_everything(config.training.seed)
    base = load(config.base, [*data.train, *data.dev])
    batches, dev = Batches(base, data.train, config, "train"), Batches(base, data.dev, config, "dev")
    reference = reference_of(config, batches.rows)
    print(batches.summary())

    # 2. One step's loss, and what is measured on dev
    losses = Losses(base)
    task = Task(base.model.gpt, batches.batch, losses.of_batch, lambda gpt: {"dev_loss": losses.on_dev(gpt, dev)})

    # 3. A dry run ends here
    if dry_run:
        print(estimates.show(estimates.estimate(task, config.training), config.training))
        return

    # 4. The run folder; the ledger learns whose voices are in it
    prints = {**data.fingerprints, "base": base.fingerprint}
    opened = open_run(Path(config.run), "synthesizer", config, data=prints, seed=config.training.seed, resume=resume)
    data.note(opened)

    # 5. Training, from the checkpoint where there is one; leaves the best weights in the model
    train(task, config.training, opened)

    # 6. Export, proved against the trainer on texts of dev
    if opened.main:
        export(opened, base, dev.rows, reference, config)


def reference_of(config: Config, rows: Sequence[Utterance]) -> Utterance:
    """The row whose voice is cloned. Raises ConfigError where there is none, or nobody has consented."""
    named = {row.id: row for row in rows}
    found = named.get(config.reference) if config.reference else max(rows, key=lambda row: (row.duration_s, row.id))
    if found is None:
        raise ConfigError(
            f"reference: got {config.reference!r}, expected the id of a row of train that can be learnt from"
        )
    if not found.consent.strip():
        raise ConfigError(f"reference: row {found.id} names no consent, expected who agreed that this voice is cloned")
    return found


class Losses:
    """Cross-entropy of text and audio codes, the text's voice being heard from another clip."""

    def __init__(self, base: Base) -> None:
        self._base = base

    def of_batch(self, gpt: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, float]:
        """Sum over clips, and how many they are."""
        base = self._base
        with torch.no_grad(), torch.autocast(batch["wave"].device.type, enabled=False):
            codes = base.codes.to(batch["wave"].device).get_codebook_indices(base.mel(batch["wave"], 1024))
            voices = base.mel(batch["prompt"], 2048)
        text, audio, _ = gpt(
            batch["text"], batch["text_lengths"], codes, batch["wave_lengths"], cond_mels=voices[:, None]
        )
        return (TEXT_WEIGHT * text + audio) * len(codes), float(len(codes))

    def on_dev(self, gpt: nn.Module, dev: Batches) -> float:
        """Mean over clips, in nats a code."""
        device = next(gpt.parameters()).device
        summed = 0.0
        for i, rows in enumerate(dev.all()):
            batch = {name: tensor.to(device) for name, tensor in dev.tensors(rows, random.Random(i)).items()}
            summed += float(self.of_batch(gpt, batch)[0])
        return summed / len(dev.rows)


def export(run: Run, base: Base, dev: Sequence[Utterance], reference: Utterance, config: Config) -> None:
    """Writes EXPORT/voice with the clip that is cloned; notes parity and what pack.toml must say in the run's facts.

    Raises ParityError, with nothing left to serve, where the engine says a text otherwise than the trainer.
    """
    shutil.rmtree(run.export, ignore_errors=True)  # of an export that was killed
    folder = run.export / "voice"
    folder.mkdir(parents=True)
    model = base.model.cpu().float()
    for name, content in base.files.items():
        (folder / name).write_bytes(content)
    save_file({name: t.detach().clone().contiguous() for name, t in model.state_dict().items()}, folder / WEIGHTS)
    soundfile.write(folder / REFERENCE, waveform(reference), REFERENCE_RATE, subtype="PCM_16")
    settings = {
        "engine": "coqui-xtts",
        "names": [reference.speaker],
        "sample_rate": int(model.config.audio.output_sample_rate),
        "licence": config.licence,
        "reference": REFERENCE,
        "consent": reference.consent,
    }
    rows = list(dev[: max(1, config.export.parity_texts)])
    try:
        for row in rows:
            threads = torch.get_num_threads()
            theirs = asyncio.run(_served(run, row, settings, threads))
            network = XttsNetwork(model, folder / REFERENCE, language=row.language, device="cpu", threads=threads)
            compare(row.id, _spoken(network, row.text), theirs, config.export.parity_difference)
    except ParityError:
        shutil.rmtree(run.export)
        raise
    counts = {"clips": len(rows), "same": len(rows), "ties": 0, "refused": 0, "limit": 0.0}
    run.note(export=["voice"], parity={"voice": counts}, settings=settings)
    print(f"voice: {len(rows)} texts of dev sound as the trainer says them")


def _spoken(network: XttsNetwork, text: str) -> Waveform:
    """What the trainer's networks say; chance begins with the text."""
    stream, pieces = network.stream(text, "", 1.0), []
    while (piece := stream.next()) is not None:
        pieces.append(piece)
    waveform: Waveform = np.concatenate(pieces)
    return waveform


async def _served(run: Run, row: Utterance, settings: dict[str, Any], threads: int) -> Waveform:
    """What the engine says, from the folder as it lies on disk."""
    made = VoiceSettings(**{**settings, "names": tuple(settings["names"])})
    pack = Pack(folder=run.export, name="export", version="1", language=row.language, voice=made)
    engine = connect.load_synthesizer(pack, device="cpu", threads=threads, accepted_licences=(made.licence,))
    return to_waveform(b"".join([chunk.pcm async for chunk in engine.speak(row.text)]))
