"""Artificial speech of two speakers in German: every letter is a sound of its own. Small enough for a voice in seconds.

As a program: `python -m tests.finetune.tiny_voice KILL KEY=VALUE...` runs the recipe and kills itself at batch KILL of
the acoustic model.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from app import REPOSITORY
from app.spoken_any import words_of
from app.workers.vocoder import RATE, Vocoder
from finetune.data.manifest import write_manifest
from finetune.data.rows import Utterance
from tests.finetune import dying

TINY = REPOSITORY / "finetune/configs/synthesizer_tiny.yaml"
WORDS = ("anna", "otto", "heute", "über", "gern", "licht", "küche", "straße", "zwei", "3", "morgen", "bitte", "ja")
HERTZ = {"anna": 210.0, "bernd": 120.0}


def speech(text: str, speaker: str, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Samples of a text: 6 to 9 frames a letter, and a pause at both ends."""
    draw = random.Random(f"{text} {speaker} {seed}")
    frames = [" "] * 12
    for word in words_of(text, "de", {}):
        for letter in word.word:
            frames += [letter] * draw.randint(6, 9)
        frames += [" "] * draw.choice((0, 0, 8))
    frames += [" "] * 12
    shapes = {" ": np.full(24, 0.0)}
    for letter in set(frames) - {" "}:
        shapes[letter] = np.random.default_rng(ord(letter)).normal(size=24) * 0.4
    cepstra = np.stack([shapes[letter] for letter in frames]).astype(np.float32)
    spoken = np.array([letter != " " for letter in frames])
    hertz = np.where(spoken, HERTZ[speaker], 0).astype(np.float32)
    harmonic, noise = cepstra.copy(), 0.5 * cepstra
    harmonic[:, 0], noise[:, 0] = np.where(spoken, -2.5, -12), np.where(spoken, -6, -9)
    maker = Vocoder(seed)
    return np.concatenate([maker.next(hertz, harmonic, noise), maker.flush()])


def write_data(folder: Path) -> Path:
    """A manifest: 24 clips to learn from, 4 of dev, 1 of test, by both speakers in turn."""
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number in range(29):
        speaker = ("anna", "bernd")[number % 2]
        text = " ".join(random.Random(number).sample(WORDS, 4)).capitalize() + "."
        split = "train" if number < 24 else "dev" if number < 28 else "test"
        path = f"audio/{number:02}.flac"
        made = speech(text, speaker, number)
        soundfile.write(folder / path, made, RATE)
        rows.append(
            Utterance(f"clip-{number:02}", path, text, "de", speaker, len(made) / RATE, "made", "CC0-1.0", "yes", split)
        )
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def main() -> None:
    """Runs the recipe as a process that dies without warning."""
    from finetune.recipes import synthesizer_starter
    from finetune.recipes.synthesizer_starter_data import Batches

    dying.run(synthesizer_starter, Batches, TINY)


if __name__ == "__main__":
    main()
