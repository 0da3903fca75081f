"""A trained voice to RUN/export/voice, proved: the service's engine says texts of dev as the trainer does.

A few of them are kept in RUN/samples, to listen to. Knows no training.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from app.audio import Waveform, to_pcm16, to_waveform
from app.front_end import FrontEnd, facts_of
from app.workers.frames import frame_positions
from app.workers.phrases import phrases
from app.workers.vocoder import RATE, Vocoder
from app.workers.voice import OnnxVoice, limited, seed_of, whole_frames
from finetune.data.rows import Utterance
from finetune.errors import ExportError, ParityError
from finetune.loop import Task, evaluate
from finetune.recipes.synthesizer_starter_config import Export
from finetune.recipes.synthesizer_starter_data import Reading, recordings_of
from finetune.run import Run
from finetune.starter.voice_acoustic import Acoustic
from finetune.starter.voice_corpus import read
from finetune.starter.voice_export import GAIN, SMALL, Decoder, Sharpening
from finetune.starter.voice_export import export as write
from finetune.starter.voice_features import log_mel
from finetune.starter.voice_picture import spectrogram
from finetune.starter.voice_vocoder import FilterNetwork, Scale

QUIET = -4.0
"""Log-mel below which nothing is compared: 70 dB below loud speech, where the rounding of samples to 16 bits counts."""
SAMPLES = 3
"""Of the texts that are compared, how many are kept as recordings."""


def export(
    run: Run,
    acoustic: Acoustic,
    vocoder: FilterNetwork,
    scale: Scale,
    reading: Reading,
    voices: Sequence[str],
    dev: Sequence[Utterance],
    how: Export,
    task: Task,
) -> None:
    """Writes the voice and notes its parity. Raises ParityError, with nothing left to serve, where it sounds otherwise.

    The networks are left as they are served: their larger weights in 16 bits.
    """
    shutil.rmtree(run.export, ignore_errors=True)  # of an export that was killed
    folder = run.export / "voice"
    acoustic, vocoder = acoustic.cpu().float().eval(), vocoder.cpu().float().eval()
    before = evaluate(task)
    for network in (acoustic, vocoder):
        halve(network)
    after = evaluate(task)
    sharpening = Sharpening(how.mel_sharpening, how.pitch_sharpening)
    front = facts_of(reading.front, reading.language, reading.symbols, reading.said)
    write(acoustic, vocoder, scale, folder, names=voices, sharpening=sharpening, front=front)
    reading.write(folder)
    decoder = Decoder(acoustic, vocoder, scale, sharpening)
    chosen = spread(dev, how.parity_texts)
    texts = [(row.text, row.speaker) for row in chosen]
    ours = [said(acoustic, decoder, reading.front, text, voices.index(speaker)) for text, speaker in texts]
    theirs = served(folder, texts)
    apart = [distance(a, b) for a, b in zip(ours, theirs, strict=True)]
    if max(apart) > how.parity_nats:
        shutil.rmtree(run.export)
        worst = int(np.argmax(apart))
        raise ParityError(
            f"voice: text {chosen[worst].id} sounds otherwise from the exported voice, by {apart[worst]:.3f} nats in a "
            f"band of its log-mel spectrum; parity_nats allows {how.parity_nats:g}"
        )
    samples(run.folder / "samples", chosen[:SAMPLES], theirs)
    run.note(
        export=["voice"],
        parity={"voice": {"clips": len(apart), "same": len(apart), "ties": 0, "refused": 0, "limit": 0.0}},
        parity_nats=round(max(apart), 5),
        rounding={"dev_loss": next(iter(before.values())), "dev_loss_16_bit": next(iter(after.values()))},
        settings={"engine": "onnx", "names": list(voices), "sample_rate": RATE},
    )
    print(f"voice: {len(apart)} texts sound as the trainer says them, at most {max(apart):.4f} nats apart in any band")


def samples(folder: Path, rows: Sequence[Utterance], spoken: Sequence[Waveform]) -> None:
    """Recordings of the voice to listen to, and a picture of the first one beside its reader's."""
    import soundfile

    folder.mkdir(exist_ok=True)
    for row, waveform in zip(rows, spoken, strict=False):
        name = re.sub(r"[^\w.-]", "_", row.id)
        soundfile.write(folder / f"{name}.wav", waveform, RATE)
    reader = read(recordings_of(rows[:1])[0])
    spectrogram(spoken[0], reader, rows[0].text, folder / "mel.png")


def halve(network: nn.Module) -> None:
    """Rounds weights to the 16 bits in which the file stores them."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() >= SMALL:
                parameter.copy_(parameter.half().float())


def spread(rows: Sequence[Utterance], count: int) -> list[Utterance]:
    """Up to `count` rows from all over. Raises ExportError where there is none."""
    found = list(rows[:: max(1, len(rows) // max(1, count))][:count])
    if not found:
        raise ExportError("got no text of dev to prove the export with, expected parity_texts of at least 1")
    return found


def said(acoustic: Acoustic, decoder: nn.Module, front: FrontEnd, text: str, speaker: int) -> Waveform:
    """The trainer's speech: whole phrases at once, by torch. Samples at RATE in the 16 bits that are served."""
    maker = Vocoder(seed=seed_of(text))
    parts = []
    with torch.no_grad():
        for phrase in phrases(text, front):
            phones, places = (torch.from_numpy(part)[None] for part in (phrase.phones, phrase.places))
            states, steps = acoustic.encode(phones, places, torch.tensor([speaker]))
            owner, position = frame_positions(whole_frames(steps.exp()[0].numpy(), phrase))
            made = decoder(states, torch.from_numpy(owner)[None], torch.from_numpy(position)[None])
            parts.append(maker.next(*(part[0].numpy() for part in made)))
    return to_waveform(to_pcm16(limited(np.concatenate([*parts, maker.flush()]).astype(np.float32) * np.float32(GAIN))))


def served(folder: Path, texts: Sequence[tuple[str, str]]) -> list[Waveform]:
    """What the service's engine makes of (text, voice)."""
    engine = OnnxVoice(folder)

    async def spoken() -> list[Waveform]:
        return [
            to_waveform(b"".join([chunk.pcm async for chunk in engine.speak(text, voice=voice)]))
            for text, voice in texts
        ]

    return asyncio.run(spoken())


def distance(one: Waveform, other: Waveform) -> float:
    """Largest difference of two log-mel spectra in nats; infinite where they are not of one length."""
    if len(one) != len(other):
        return float("inf")
    return float(np.abs(np.maximum(log_mel(one), QUIET) - np.maximum(log_mel(other), QUIET)).max())
