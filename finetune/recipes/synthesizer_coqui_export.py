"""A trained Coqui voice as a pack takes it, proved against the trainer through the engine that serves it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from app.audio import Waveform, to_waveform
from app.packs import Pack, VoiceSettings
from app.workers import connect
from app.workers.coqui_folder import WEIGHTS
from finetune import checkpoint
from finetune.errors import ExportError, ParityError
from finetune.recipes.synthesizer_coqui_batches import Clip
from finetune.recipes.synthesizer_coqui_config import Config
from finetune.recipes.synthesizer_coqui_voice import Voice, weights_of
from finetune.run import Run


def export(run: Run, voice: Voice, dev: Sequence[Clip], config: Config) -> None:
    """Writes EXPORT/voice; notes parity and what pack.toml must say in the run's facts.

    Raises ParityError, with nothing left to serve, where the engine says a text otherwise than the trainer.
    """
    shutil.rmtree(run.export, ignore_errors=True)  # of an export that was killed
    model = voice.model.cpu().float().eval()
    if config.export.weights == "best":
        best = run.best(run.facts()["best_step"])
        checkpoint.restore_weights(model, checkpoint.load(best)["weights"], str(best))
    folder = run.export / "voice"
    folder.mkdir(parents=True)
    for name, text in voice.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    save_file(weights_of(voice), folder / WEIGHTS)
    settings = {
        "engine": "coqui-vits",
        "names": list(voice.names),
        "sample_rate": int(model.config.audio.sample_rate),
        "licence": config.licence,
    }
    texts = list(dev[:: max(1, len(dev) // max(1, config.export.parity_texts))][: config.export.parity_texts])
    if not texts:
        raise ExportError("got no text of dev to prove the export with, expected parity_texts of at least 1")
    try:
        for clip, theirs in zip(texts, asyncio.run(_served(run, texts, settings)), strict=True):
            compare(clip.row.id, spoken(voice, clip, run.seed), theirs, config.export.parity_difference)
    except ParityError:
        shutil.rmtree(run.export)
        raise
    counts = {"clips": len(texts), "same": len(texts), "ties": 0, "refused": 0, "limit": 0.0}
    run.note(export=["voice"], parity={"voice": counts}, settings=settings)
    print(f"voice: {len(texts)} texts of dev sound as the trainer says them")


def spoken(voice: Voice, clip: Clip, seed: int) -> Waveform:
    """What the trainer says, float32 [samples]; its breath and rhythm are chance, which `seed` decides."""
    aux: dict[str, Any] = {"x_lengths": torch.tensor([len(clip.tokens)])}
    if voice.speakers:
        aux["speaker_ids"] = torch.tensor([voice.speakers[clip.row.speaker]])
    if voice.languages:
        aux["language_ids"] = torch.tensor([voice.languages[clip.row.language]])
    torch.manual_seed(seed)
    outputs = voice.model.inference(torch.tensor([clip.tokens]), aux)
    waveform: Waveform = outputs["model_outputs"][0, 0].numpy()
    return waveform


def compare(name: str, ours: Waveform, theirs: Waveform, most: float) -> None:
    """Raises ParityError where two waveforms [samples] have other lengths, or a sample differs by more than `most`."""
    if len(ours) != len(theirs):
        raise ParityError(f"voice: text {name} has {len(theirs)} samples, expected the trainer's {len(ours)}")
    difference = float(np.abs(np.clip(ours, -1.0, 1.0) - theirs).max())
    if not difference <= most:
        raise ParityError(
            f"voice: text {name} differs from what the trainer says by {difference:.4f} of full scale, "
            f"parity_difference allows {most:g}"
        )


async def _served(run: Run, clips: Sequence[Clip], settings: dict[str, Any]) -> list[Waveform]:
    """What the engine says, from the folder as it lies on disk."""
    made = VoiceSettings(**{**settings, "names": tuple(settings["names"])})
    waveforms, engines = [], {}
    for clip in clips:
        language = clip.row.language
        if language not in engines:
            pack = Pack(folder=run.export, name="export", version="1", language=language, voice=made)
            engines[language] = connect.load_synthesizer(
                pack, device="cpu", threads=torch.get_num_threads(), accepted_licences=(made.licence,)
            )
        torch.manual_seed(run.seed)
        chunks = [chunk.pcm async for chunk in engines[language].speak(clip.row.text, voice=clip.row.speaker)]
        waveforms.append(to_waveform(b"".join(chunks)))
    return waveforms
