"""The recordings of the starter voice and their features on disk, in shards. Knows no alignment and no model.

With the environment variable PARLEY_DATA: one human reader, en_kathleen (CC0). Without it: sentences that flite reads.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.audio import Waveform, resample
from app.workers.vocoder import HOP, RATE
from finetune.data.recording import decode
from finetune.starter.voice_features import Floats, levelled, log_mel, pitch

HUMAN = "en_kathleen"
GENERATED = "slt"
SHARD = 100  # clips: about ten seconds of work, which is what a killed run loses


@dataclass(frozen=True, slots=True)
class Recording:
    """One clip to learn from."""

    id: str
    text: str
    split: str
    """train, dev or test."""
    audio: str
    """Path of the recording; empty: flite speaks the text."""
    speaker: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    """Seconds of the file, where the clip is a part of it."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording's features."""

    recording: Recording
    mel: NDArray[np.float16]
    """[T, MELS] log-mel."""
    pitch: Floats
    """[T] hertz, 0 where unvoiced."""
    pcm: NDArray[np.int16]
    """[T * HOP] at RATE, levelled."""


def human_recordings(data: Path) -> list[Recording]:
    """The reader's clips, in the splits of the collection (by text)."""
    rows = [json.loads(line) for line in (data / "voices" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        Recording(row["id"], row["text"], row["split"], str(data / "voices" / row["audio"]))
        for row in rows
        if row["audio"].startswith(HUMAN + "/")
    ]


def generated_recordings(sentences: list[str], seed: int = 5) -> list[Recording]:
    """The given sentences for flite to read; 5 % each for dev and test."""
    chooser = random.Random(seed)
    splits = chooser.choices(["train", "dev", "test"], [0.9, 0.05, 0.05], k=len(sentences))
    return [
        Recording(f"flite-{n:05}", text, split, "")
        for n, (text, split) in enumerate(zip(sentences, splits, strict=True))
    ]


def read(recording: Recording) -> Waveform:
    """The recording at RATE, at its own level. Raises FileNotFoundError where flite or the file is missing."""
    import soundfile

    if recording.audio:
        part = decode(Path(recording.audio).read_bytes(), recording.start_s, recording.end_s)
        waveform, rate = part.waveform, part.rate
    else:
        with tempfile.NamedTemporaryFile(suffix=".wav") as spoken:
            command = ["flite", "-voice", GENERATED, "-t", recording.text, "-o", spoken.name]
            subprocess.run(command, check=True, capture_output=True)
            waveform, rate = soundfile.read(spoken.name, dtype="float32")
    return resample(waveform, rate, RATE)


def features(recording: Recording) -> Clip:
    """Level, mel and pitch of one recording."""
    waveform = levelled(read(recording))
    mel = log_mel(waveform)
    pcm = (waveform[: len(mel) * HOP] * 32767).astype(np.int16)
    return Clip(recording, mel.astype(np.float16), pitch(waveform), pcm)


def extract(recordings: list[Recording], folder: Path) -> None:
    """Features of every recording into shards below `folder`; shards that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(recordings), SHARD)
    for start in tqdm(starts, desc="features", unit="shard"):
        path = folder / f"{start:05}.npz"
        if path.exists():
            continue
        clips = [features(recording) for recording in recordings[start : start + SHARD]]
        arrays: dict[str, NDArray[Any]] = {
            "recordings": np.array([json.dumps(asdict(clip.recording)) for clip in clips]),
            "frames": np.array([len(clip.mel) for clip in clips]),
            "mel": np.concatenate([clip.mel for clip in clips]),
            "pitch": np.concatenate([clip.pitch for clip in clips]),
            "pcm": np.concatenate([clip.pcm for clip in clips]),
        }
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its other keyword is a flag
        os.replace(partial, path)


def load(folder: Path, split: str = "") -> Iterator[Clip]:
    """The clips of every shard, in order; of one split where named."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as shard:
            ends = np.cumsum(shard["frames"])
            mel, hertz, pcm = shard["mel"], shard["pitch"], shard["pcm"]
            for text, end, count in zip(shard["recordings"], ends, shard["frames"], strict=True):
                recording = Recording(**json.loads(str(text)))
                if not split or recording.split == split:
                    span = slice(int(end - count), int(end))
                    samples = pcm[int(end - count) * HOP : int(end) * HOP]
                    yield Clip(recording, mel[span], hertz[span], samples)
