"""Training clips of the starter's recognizer: log-mel windows with text and phone times, in shards on disk.

Knows no network. A shard is one safetensors file, written whole or not at all, so generation can be killed and resumed.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from app.audio import HEARING_RATE, Waveform
from finetune.starter import augment, speech
from finetune.starter.domain import user_sentences
from finetune.starter.recognizer_text import Sentences, gather, spoken_form

MEL_RATE = 100  # frames per second: hop of 160 samples at HEARING_RATE
LONGEST_SECONDS = 8.0
NO_PHONE = 255
"""Label of an encoder state whose phone is not known."""
SHARD_CLIPS = 1000
NO_SPEECH_SHARE = 0.055
DOMAIN_SENTENCES = 9000
HUMAN_COPIES = 4
"""Distorted copies of each human recording."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One window and what is said in it."""

    mel: NDArray[np.float16]
    """Whisper's log-mel [frames, 80]."""
    text: str
    """Spoken form; empty where nobody speaks."""
    kind: str
    """synthetic, human or silence; of development clips the name of their set."""
    voice: str
    span: tuple[float, float]
    """Seconds at which speech starts and ends."""
    phones: NDArray[np.uint8]
    """Index into speech.PHONES for each encoder state [(frames + 1) // 2], or NO_PHONE."""


def generate(folder: Path, clips: int, seed: int, data: Path | None, processes: int) -> None:
    """Writes shards until `folder` holds about `clips` clips; those that exist already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [("synthetic", shard, seed, data) for shard in range(-(-clips // SHARD_CLIPS))]
    if data is None:
        print("PARLEY_DATA is not set: training on generated speech alone, without any human voice", flush=True)
    else:
        # Among the first shards, so that a training which starts early hears humans from its first steps.
        jobs[2:2] = [("human", copy, seed, data) for copy in range(HUMAN_COPIES)]
    jobs.insert(0, ("development", 0, seed, data))
    jobs = [job for job in jobs if not _shard_path(folder, job[0], job[1]).exists()]
    started = time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        for done, (path, count) in enumerate(pool.map(_write_shard, [(folder, *job) for job in jobs]), start=1):
            left = (time.monotonic() - started) / done * (len(jobs) - done)
            print(f"{path.name}: {count} clips, {done}/{len(jobs)} shards, {left / 60:.1f} min left", flush=True)


def write_shard(path: Path, clips: list[Clip]) -> None:
    """Writes the clips whole or not at all."""
    rows = [{"text": c.text, "kind": c.kind, "voice": c.voice, "span": c.span} for c in clips]
    tensors = {
        # safetensors writes the memory as it lies, and a transposed spectrogram lies column by column.
        "mels": np.ascontiguousarray(np.concatenate([clip.mel for clip in clips])),
        "phones": np.concatenate([clip.phones for clip in clips]),
        "frames": np.array([len(clip.mel) for clip in clips], np.int64),
    }
    unfinished = path.with_suffix(".part")
    save_file(tensors, unfinished, {"clips": json.dumps(rows)})
    os.replace(unfinished, path)


def read_shard(path: Path) -> list[Clip]:
    """The clips of one shard."""
    with safe_open(path, framework="numpy") as shard:
        mels, phones, frames = (shard.get_tensor(name) for name in ("mels", "phones", "frames"))
        rows = json.loads(shard.metadata()["clips"])
    clips, frame, state = [], 0, 0
    for row, count in zip(rows, frames.tolist(), strict=True):
        states = (count + 1) // 2
        mel, labels = mels[frame : frame + count], phones[state : state + states]
        clips.append(Clip(mel, row["text"], row["kind"], row["voice"], tuple(row["span"]), labels))
        frame, state = frame + count, state + states
    return clips


def read_development(folder: Path) -> dict[str, list[Clip]]:
    """The development clips by the name of their set."""
    sets: dict[str, list[Clip]] = {}
    for clip in read_shard(_shard_path(folder, "development", 0)):
        sets.setdefault(clip.kind, []).append(clip)
    return sets


def log_mel(waveform: Waveform) -> NDArray[np.float32]:
    """Whisper's log-mel spectrogram [frames, 80] of a waveform at HEARING_RATE."""
    features: NDArray[np.float32] = _feature_extractor()(waveform)
    return features.T


def synthetic_clip(sentences: Sentences, rng: random.Random) -> Clip | None:
    """A random training voice says a random sentence somewhere; None where it came out too long or failed."""
    text, voice = sentences.draw(rng), speech.training_voice(rng)
    letters = all(len(word) == 1 for word in text.split())
    try:
        said = speech.speak(text.upper() if letters else text, voice, rng)  # a capital A is read as the letter
    except speech.SpeechError:
        return None
    espeak = voice.program == "espeak-ng"  # its variants differ enough; the few others are stretched further
    speed = rng.choice([1.0, 1.0, rng.uniform(0.84, 1.2)]) if espeak else rng.uniform(0.80, 1.28)
    waveform = augment.change_speed(said.waveform, said.rate, speed)
    seconds = len(waveform) / HEARING_RATE
    waveform, lead = augment.distort(waveform, rng)
    if len(waveform) > LONGEST_SECONDS * HEARING_RATE:
        return None
    mel = log_mel(waveform).astype(np.float16)
    phones = _phone_labels(said.phones, len(mel), lead, speed)
    return Clip(mel, text, "synthetic", str(voice), (lead, lead + seconds), phones)


def silent_clip(rng: random.Random) -> Clip:
    """Silence or noise: nobody speaks."""
    mel = log_mel(augment.no_speech(rng)).astype(np.float16)
    return Clip(mel, "", "silence", "", (0.0, 0.0), np.zeros((len(mel) + 1) // 2, np.uint8))


def human_clips(data: Path, split: str) -> Iterator[tuple[Path, str]]:
    """(recording, spoken form) of the CC0 reader kathleen in one of the splits, those with plain text alone."""
    with (data / "voices/manifest.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        if row["speaker"] == "kathleen" and row["split"] == split and row["licence"] == "CC0-1.0":
            text = spoken_form(row["text"])
            if text:
                yield data / "voices" / row["audio"], text


def development_clips(data: Path | None, seed: int, each: int = 60) -> Iterator[Clip]:
    """Clips for decisions, undistorted: sentences of the dev split by known and unknown voices, and by the human."""
    rng = random.Random(f"development {seed}")
    voices: dict[str, Callable[[random.Random], speech.Voice]] = {
        "known voices": speech.training_voice,
        "unknown espeak-ng": speech.development_voice,
        "unknown festival": lambda _: speech.HTS_VOICE,
    }
    for name, draw in voices.items():
        for text in user_sentences(each, seed, "dev"):
            voice = draw(rng)
            said = speech.speak(text, voice)
            yield _plain_clip(said.waveform, said.rate, text, name, str(voice))
    if data is not None:
        for path, text in human_clips(data, "dev"):
            recording, rate = soundfile.read(path, dtype="float32")
            yield _plain_clip(recording, rate, text, "human", "kathleen")


def _plain_clip(waveform: Waveform, rate: int, text: str, kind: str, voice: str) -> Clip:
    """A clip at the speaker's own speed with a quarter of a second of faint hiss around it."""
    padded = np.pad(augment.at_level(augment.change_speed(waveform, rate, 1.0), 0.5), HEARING_RATE // 4)
    padded = padded + np.random.default_rng(0).standard_normal(len(padded)).astype(np.float32) * np.float32(1e-3)
    mel = log_mel(padded).astype(np.float16)
    return Clip(mel, text, kind, voice, (0.0, 0.0), np.full((len(mel) + 1) // 2, NO_PHONE, np.uint8))


def _human_clip(path: Path, text: str, rng: random.Random) -> Clip | None:
    recording, rate = soundfile.read(path, dtype="float32")
    waveform = augment.change_speed(recording, rate, rng.uniform(0.88, 1.15))
    seconds = len(waveform) / HEARING_RATE
    waveform, lead = augment.distort(waveform, rng)
    if len(waveform) > LONGEST_SECONDS * HEARING_RATE:
        return None
    mel = log_mel(waveform).astype(np.float16)
    unknown = np.full((len(mel) + 1) // 2, NO_PHONE, np.uint8)
    return Clip(mel, text, "human", "kathleen", (lead, lead + seconds), unknown)


def _phone_labels(phones: tuple[tuple[str, float], ...], frames: int, lead: float, speed: float) -> NDArray[np.uint8]:
    """The phone at each encoder state's middle; silence around the speech, NO_PHONE where nothing is known."""
    states = (frames + 1) // 2
    if not phones or any(phone not in speech.PHONES for phone, _ in phones):
        return np.full(states, NO_PHONE, np.uint8)
    moments = ((np.arange(states) + 0.5) * 2 / MEL_RATE - lead) * speed
    which = np.searchsorted([end for _, end in phones], moments)
    labels = np.array([speech.PHONES.index(phone) for phone, _ in phones] + [0], np.uint8)[which]
    labels[moments < 0] = 0
    return labels


def _write_shard(job: tuple[Path, str, int, int, Path | None]) -> tuple[Path, int]:
    folder, kind, number, seed, data = job
    clips: list[Clip] = []
    if kind == "development":
        clips = list(development_clips(data, seed))
    elif kind == "human":
        assert data is not None
        for recording, text in human_clips(data, "train"):
            rng = random.Random(f"{seed} {number} {recording.name}")
            if clip := _human_clip(recording, text, rng):
                clips.append(clip)
    else:
        sentences = _sentences(seed, data)
        for index in range(SHARD_CLIPS):
            rng = random.Random(f"{seed} {number} {index}")
            silent = rng.random() < NO_SPEECH_SHARE
            if clip := silent_clip(rng) if silent else synthetic_clip(sentences, rng):
                clips.append(clip)
    path = _shard_path(folder, kind, number)
    write_shard(path, clips)
    return path, len(clips)


@cache
def _sentences(seed: int, data: Path | None) -> Sentences:
    return gather(DOMAIN_SENTENCES, seed, data)


@cache
def _feature_extractor() -> Any:
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor()


def _shard_path(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number:04d}.safetensors"
