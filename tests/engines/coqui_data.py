"""Clips in which each letter hums a tone of its own: data that is the same everywhere.

As a program: `python -m tests.engines.coqui_data KILL KEY=VALUE...` runs the recipe and kills itself at batch KILL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from app import REPOSITORY
from finetune.data.manifest import write_manifest
from finetune.data.rows import Utterance
from tests.finetune import dying

TINY = REPOSITORY / "finetune/configs/synthesizer_coqui_tiny.yaml"
RATE = 16_000
LETTER_SECONDS = 0.08
TEXTS = {
    "train": ("guten tag", "wie geht es", "das licht", "bitte sehr", "danke schön", "auf bald"),
    "dev": ("bis bald", "gute nacht"),
}


def write_data(folder: Path, speakers: tuple[str, ...] = ("anna",)) -> Path:
    """A manifest; the texts go round the speakers."""
    rows = []
    for split, texts in TEXTS.items():
        for i, text in enumerate(texts):
            name, speaker = f"{split}-{i}", speakers[i % len(speakers)]
            wave = hum(text, 110.0 * (1 + speakers.index(speaker)))
            path = folder / "audio" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, wave, RATE, subtype="PCM_16")
            rows.append(
                Utterance(
                    name, f"audio/{name}.wav", text, "de", speaker, len(wave) / RATE, "made for a test", "CC0-1.0",
                    "training", split,
                )
            )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", rows)
    return folder / "manifest.jsonl"


def hum(text: str, pitch: float) -> np.ndarray[Any, Any]:
    """float32 [samples]; every text has its own, so that no two clips sound alike."""
    steps = np.repeat([ord(letter) % 32 for letter in text], round(LETTER_SECONDS * RATE))
    phase = np.cumsum(2 * np.pi * pitch * 2 ** (steps / 12) / RATE)
    tones: np.ndarray[Any, Any] = 0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase)
    return tones.astype(np.float32)


def main() -> None:
    """Runs the recipe as a process that dies without warning."""
    from finetune.recipes import synthesizer_coqui, synthesizer_coqui_batches

    dying.run(synthesizer_coqui, synthesizer_coqui_batches.Batches, TINY)


if __name__ == "__main__":
    main()
