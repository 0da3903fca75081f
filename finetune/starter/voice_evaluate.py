"""What the exported voice is worth: intelligibility beside the reader's own recordings, latency, speed. Trains nothing.

Everything goes through the engine that serves callers, on the files of the pack.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from app.audio import Waveform, to_waveform
from app.spoken import spoken_form
from app.workers.vocoder import RATE
from app.workers.voice import OnnxVoice
from finetune.measure import bootstrap_interval, paired_bootstrap, word_errors
from finetune.starter.voice_corpus import Clip, load
from finetune.starter.voice_judge import judge
from finetune.starter.voice_picture import spectrogram

WER_MARGIN = 0.03
FIRST_AUDIO_GATE_MS = 50.0
REAL_TIME_GATE = 0.05
SENTENCES_OF_THE_DOMAIN = (
    "Hello, I am Parley. How can I help you?",
    "It's 3:25 PM.",
    "Okay, the lights in the kitchen are on.",
    "I set a timer for five minutes.",
    "Twelve plus thirty is forty two.",
    "Sorry, I only know a few things: time, timers, lights, arithmetic and the weather.",
    "Once upon a time there was a small robot who wanted to see the sea, and one morning it simply left the house.",
    "Your name is Anna.",
)
ROUNDS = 12  # of those sentences, for latency and speed: about 100 utterances


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, as the pack's evaluation card takes it."""

    metric: str
    value: float
    unit: str
    n: int
    n_unit: str
    interval: tuple[float, float] | None = None
    gate: dict[str, Any] | None = None
    passed: bool | None = None
    note: str = ""
    part: str = "voice"


def evaluate(run: Path, folder: Path) -> list[Figure]:
    """Measures the voice in `folder` and writes evaluation.json and the spectrogram below `run`."""
    voice = OnnxVoice(folder)
    clips = [clip for split in ("dev", "test") for clip in load(run / "features", split)]
    judged = [*_round_trip(voice, clips), *_speed(voice), *_letters(run)]
    text, recorded = clips[0].recording.text, clips[0].pcm.astype(np.float32) / np.float32(32767)
    spectrogram(asyncio.run(spoken(voice, text))[0], recorded, text, run / "voice-mel.png")
    shutil.copyfile(run / "voice-mel.png", folder.parent / "voice-mel.png")
    rows = [asdict(figure) for figure in judged]
    (run / "evaluation.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for figure in judged:
        gate = "" if figure.passed is None else " passed" if figure.passed else " MISSED"
        print(f"{figure.metric}: {figure.value:.4g} {figure.unit} (n {figure.n} {figure.n_unit}){gate}")
    return judged


async def spoken(voice: OnnxVoice, text: str) -> tuple[Waveform, float, float]:
    """The speech of a text, seconds until its first chunk and in all."""
    began = time.perf_counter()
    first, parts = 0.0, []
    async for chunk in voice.speak(text):
        first = first or time.perf_counter() - began
        parts.append(chunk.pcm)
    return to_waveform(b"".join(parts)), first, time.perf_counter() - began


def _round_trip(voice: OnnxVoice, clips: Sequence[Clip]) -> list[Figure]:
    """WER of the judge on the voice and on the reader, same sentences, paired by sentence."""
    hear = judge()
    said: dict[str, str] = {}
    rows: dict[str, list[tuple[str, int, int, int]]] = {}  # sentence -> split, errors of voice and reader, words
    for clip in tqdm(clips, desc="round trip", unit="clip"):
        text = clip.recording.text
        reference = spoken_form(text)
        if text not in said:
            said[text] = hear(asyncio.run(spoken(voice, text))[0], RATE)
        human = hear(clip.pcm.astype(np.float32) / np.float32(32767), RATE)
        errors = word_errors(reference, said[text]), word_errors(reference, human)
        rows.setdefault(text, []).append((clip.recording.split, *errors, len(reference.split())))
    return [
        figure
        for name, splits in (("dev + test", ("dev", "test")), ("test only", ("test",)))
        for figure in _rates(name, [r for r in rows.values() if r[0][0] in splits], gated=name != "test only")
    ]


def _rates(name: str, sentences: list[list[tuple[str, int, int, int]]], *, gated: bool) -> list[Figure]:
    # A sentence that was read several times is one item: its readings are not independent for the voice.
    voice = [float(sum(row[1] for row in rows)) for rows in sentences]
    reader = [float(sum(row[2] for row in rows)) for rows in sentences]
    words = [float(sum(row[3] for row in rows)) for rows in sentences]
    count = int(sum(words))
    difference, low, high = paired_bootstrap(voice, reader, words)
    gate = {"op": "<=", "value": WER_MARGIN} if gated else None
    note = f"{name}, {len(sentences)} sentences, judged by PocketSphinx's general English model"
    return [
        Figure("round-trip WER of the voice", sum(voice) / count, "share", count, "words",
               bootstrap_interval(voice, words), note=note),
        Figure("WER of the reader's own recordings", sum(reader) / count, "share", count, "words",
               bootstrap_interval(reader, words), note=note),
        Figure("WER of the voice less the reader's", difference, "share", count, "words", (low, high), gate,
               difference <= WER_MARGIN if gated else None, note + ", paired bootstrap"),
    ]  # fmt: skip


def _speed(voice: OnnxVoice) -> list[Figure]:
    """First audio and real-time factor on sentences of the starter's domain, one at a time."""
    firsts, factors = [], []
    for _ in range(ROUNDS):
        for text in SENTENCES_OF_THE_DOMAIN:
            waveform, first, whole = asyncio.run(spoken(voice, text))
            firsts.append(1000 * first)
            factors.append(whole * RATE / len(waveform))
    n = len(firsts)
    median, late = float(np.median(firsts)), float(np.percentile(firsts, 95))
    factor = float(np.median(factors))
    quantiles = tuple(float(np.percentile(factors, q)) for q in (5, 95))
    note = "one thread, one utterance at a time, wall clock"
    return [
        Figure("first audio, median", median, "ms", n, "utterances",
               gate={"op": "<=", "value": FIRST_AUDIO_GATE_MS}, passed=median <= FIRST_AUDIO_GATE_MS, note=note),
        Figure("first audio, 95th percentile", late, "ms", n, "utterances", note=note),
        Figure("real-time factor, median", factor, "ratio", n, "utterances", (quantiles[0], quantiles[1]),
               {"op": "<=", "value": REAL_TIME_GATE}, factor <= REAL_TIME_GATE, note + "; 5th to 95th percentile"),
    ]  # fmt: skip


def _letters(run: Path) -> list[Figure]:
    phones, words, count = json.loads((run / "letters.json").read_text(encoding="utf-8"))
    note = "letter rules alone, words of the CMU dictionary kept out by hash, no stress"
    return [
        Figure("phone error rate of unknown words", phones, "share", count, "words", note=note),
        Figure("unknown words with any error", words, "share", count, "words", note=note),
    ]
