"""Recordings that the starter's recognizer was never trained on: for decisions (dev) and for figures (test).

Knows no recognizer. Everything is PCM16 at HEARING_RATE, as a caller's audio arrives.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from app.audio import HEARING_RATE, Pcm16, Waveform, resample, to_pcm16
from finetune.starter import augment, speech
from finetune.starter.domain import Split, user_sentences
from finetune.starter.recognizer_data import human_clips

WINDOW_SECONDS = 2.0
"""Of the recorded rooms."""
DEV_ROOMS = ("noise-room-bg_noise", "noise-room-bg_noise2")


@dataclass(frozen=True, slots=True)
class Recording:
    """One utterance, or none."""

    pcm: Pcm16
    text: str
    """Spoken form; empty where nobody speaks."""


def spoken(split: Split, count: int, seed: int, voice: Callable[[random.Random], speech.Voice]) -> list[Recording]:
    """Sentences of the domain that training never had, each by a drawn voice at its own speed."""
    rng = random.Random(f"held out {split} {seed}")
    recordings = []
    for text in user_sentences(count, seed, split):
        said = speech.speak(text, voice(rng))
        recordings.append(Recording(_quietly_framed(said.waveform, said.rate), text))
    return recordings


def reader(data: Path, split: str) -> list[Recording]:
    """Open sentences by the CC0 reader; her other sentences are in training, these texts are not."""
    return [Recording(_quietly_framed(*_read(path)), text) for path, text in human_clips(data, split)]


def digits(data: Path, split: str) -> list[Recording]:
    """Single digits by people whom no training hears at all."""
    rows = _manifest(data)
    chosen = [row for row in rows if row["subset"] == "digits_en" and row["split"] == split]
    return [Recording(_quietly_framed(*_read(data / "speech" / str(row["audio"]))), str(row["text"])) for row in chosen]


def generated_noise(count: int, seed: int, kinds: tuple[str, ...]) -> list[Recording]:
    """Silence and noise of the given kinds."""
    return [Recording(to_pcm16(augment.no_speech(random.Random(f"noise {seed} {i}"), kinds)), "") for i in range(count)]


def rooms(data: Path, split: str) -> list[Recording]:
    """Windows of recorded rooms in which nobody speaks; split by file."""
    windows = []
    for row in _manifest(data):
        if row["subset"] == "noise" and str(row["id"]).startswith("noise-room"):
            if (row["id"] in DEV_ROOMS) != (split == "dev"):
                continue
            waveform, rate = _read(data / "speech" / str(row["audio"]))
            waveform, size = resample(waveform, rate, HEARING_RATE), int(WINDOW_SECONDS * HEARING_RATE)
            starts = range(0, max(1, len(waveform) - size + 1), size // 2)
            windows += [Recording(to_pcm16(waveform[start : start + size]), "") for start in starts]
    return windows


def _quietly_framed(waveform: Waveform, rate: int) -> Pcm16:
    """At half level, with a quarter of a second of faint hiss around it: what a session's VAD cuts out."""
    padded = np.pad(augment.at_level(resample(waveform, rate, HEARING_RATE), 0.5), HEARING_RATE // 4)
    hiss = np.random.default_rng(len(padded)).standard_normal(len(padded)).astype(np.float32)
    return to_pcm16(padded + hiss * np.float32(1e-3))


def _read(path: Path) -> tuple[Waveform, int]:
    waveform, rate = soundfile.read(path, dtype="float32")
    return waveform, int(rate)


def _manifest(data: Path) -> list[dict[str, object]]:
    with (data / "speech/manifest.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
