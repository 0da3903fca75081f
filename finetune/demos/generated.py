"""Datasets of generated speech: sentences by many synthetic voices, with rooms and noise. Knows no model.

A clip is made of its job alone, so an interrupted generation goes on where it was.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from app.audio import HEARING_RATE, Waveform
from finetune.data.ledger import NAME as LEDGER
from finetune.data.ledger import Ledger
from finetune.data.manifest import write_manifest
from finetune.data.rows import Utterance
from finetune.starter import augment, speech

CONSENT = "synthetic voice, no person"
LICENCE = "CC0-1.0"
ROOMS = 0.6
"""Share of training clips with a room, a microphone, noise; the others are as clean as those of dev and test."""


@dataclass(frozen=True, slots=True)
class Job:
    """One clip."""

    id: str
    text: str
    voice: speech.Voice
    split: str


def build(folder: Path, jobs: Sequence[Job], language: str, processes: int = 1) -> int:
    """Writes audio, manifest and ledger of a dataset, and returns its clips; 0 where it is there already.

    Raises SpeechError where a speech program is missing or fails.
    """
    manifest = folder / "manifest.jsonl"
    if manifest.exists():
        return 0
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    make = partial(_made, folder, language)
    if processes == 1:
        rows = list(map(make, tqdm(jobs, desc=folder.name, disable=None)))
    else:
        with ProcessPoolExecutor(processes) as pool:
            rows = list(tqdm(pool.map(make, jobs, chunksize=20), total=len(jobs), desc=folder.name, disable=None))
    Ledger(folder / LEDGER).add_clips(rows, manifest.name)
    return write_manifest(manifest, rows)


def speaker(voice: speech.Voice) -> str:
    """Label of a voice."""
    return str(voice).replace("/", "-").replace(" ", "_")


def _made(folder: Path, language: str, job: Job) -> Utterance:
    path = folder / "audio" / f"{job.id}.flac"
    if not path.exists():
        rng = random.Random(job.id)
        said = speech.speak(job.text, job.voice, rng)
        if job.split == "train" and rng.random() < ROOMS:
            waveform = augment.change_speed(said.waveform, said.rate, rng.uniform(0.85, 1.2))
            waveform, _ = augment.distort(waveform, rng)
        else:
            waveform = _plain(augment.change_speed(said.waveform, said.rate, 1.0))
        whole = path.with_suffix(f".{os.getpid()}.part")
        soundfile.write(whole, waveform, HEARING_RATE, subtype="PCM_16", format="FLAC")
        whole.replace(path)
    return Utterance(
        id=job.id,
        audio=f"audio/{path.name}",
        text=job.text,
        language=language,
        speaker=speaker(job.voice),
        duration_s=round(soundfile.info(path).duration, 3),
        source=f"{job.voice.program} said it",
        licence=LICENCE,
        consent=CONSENT,
        split=job.split,
    )


def _plain(waveform: Waveform) -> Waveform:
    """At half level, with a quarter of a second of faint hiss around it: what a session's VAD cuts out."""
    padded = np.pad(augment.at_level(waveform, 0.5), HEARING_RATE // 4)
    hiss = np.random.default_rng(len(padded)).standard_normal(len(padded)).astype(np.float32)
    return padded + hiss * np.float32(1e-3)
