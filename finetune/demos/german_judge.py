"""What the judge of the German voice learns from: sentences by synthetic voices that the pack never heard.

The voice itself, and the reader whose voice it is, are not among them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from finetune.data.manifest import read_utterances
from finetune.demos.generated import Job, build
from finetune.demos.german_data import TEST_VARIANTS
from finetune.demos.german_text import Request, requests, spoken
from finetune.demos.steps import corpora, parley
from finetune.starter import speech

SEED: Final = 2
VOICES: Final = {
    "train": (*TEST_VARIANTS, *speech.ESPEAK_DEV[:4]),
    "dev": speech.ESPEAK_DEV[4:],
}
"""Variants of espeak-ng by split: those that the pack's recognizer was not trained on either."""
ROUNDS: Final = 3
"""How often each open sentence is said, by other voices and at other speeds."""


def prepare(folder: Path, reader: Path, clips: int = 2000, processes: int = 1) -> None:
    """Writes FOLDER where it is not there yet, and audits it. `reader`: manifest whose sentences are said by others.

    Raises SpeechError where espeak-ng is missing.
    """
    sentences = {split: _sentences(reader, split) for split in VOICES}
    build(folder, list(jobs(requests(corpora()), sentences, clips)), "de", processes)
    parley("data", "audit", str(folder / "manifest.jsonl"), "--apart", "both")


def jobs(said: Sequence[Request], sentences: dict[str, list[str]], clips: int) -> Iterator[Job]:
    """Open sentences, ROUNDS of each in training, and `clips` requests of training; a tenth as many of dev."""
    for split, voices in VOICES.items():
        own = [request.said for request in said if request.split == split]
        wanted = min(clips if split == "train" else clips // 10, len(own))
        texts = [*sentences[split] * (ROUNDS if split == "train" else 1), *(own[:wanted])]
        for i, text in enumerate(texts):
            rng = random.Random(f"{SEED} judge {split} {i}")
            yield Job(f"{split}-{i:05d}", text, speech.Voice("espeak-ng", rng.choice(voices), "de"), split)


def _sentences(manifest: Path, split: str) -> list[str]:
    """Spoken forms of the texts of a split, without those that hold what is not read plainly."""
    read = [spoken(row.text) for row in read_utterances(manifest) if row.split == split]
    return [text for text in dict.fromkeys(read) if text]
