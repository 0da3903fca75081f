"""Data of the German demonstration: generated and recorded speech, dialogues, and English to rehearse."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from finetune.data.texts import groups
from finetune.demos.generated import Job, build
from finetune.demos.german_text import Request, requests
from finetune.demos.steps import corpora, parley
from finetune.starter import speech
from finetune.starter.domain import user_sentences

TEST_VARIANTS: Final = ("Annie", "Mario", "f2", "m3", "norbert", "sandro", "shelby", "zac")
SEED: Final = 1
EARLIER: Final = 3
"""Exchanges before the last one of a dialogue, at most."""
CONSENT: Final = "volunteer of a public voice data set, CC0"


def prepare(folder: Path, clips: int = 6500, english: int = 3000, processes: int = 1) -> None:
    """Writes FOLDER/generated, kerstin, commands and english, those that are not there yet; checks and audits them."""
    data = corpora()
    said = requests(data)
    build(folder / "generated", list(request_jobs(said, clips)), "de", processes)
    build(folder / "english", list(english_jobs(english)), "en", processes)
    if not (folder / "kerstin/manifest.jsonl").exists():
        source = str(data / "voices")
        out = str(folder / "kerstin")
        parley("data", "import", "shared", source, "--subset", "de_kerstin", "--out", out, "--consent", CONSENT)
    if not (folder / "commands/dialogues.jsonl").exists():
        rows = folder / "commands.jsonl"
        rows.write_text("".join(dialogue_lines(said)), encoding="utf-8")
        parley("data", "import", "dialogues", str(rows), "--out", str(folder / "commands"), "--language", "de")
    for name, apart in (("generated", "both"), ("kerstin", "texts"), ("english", "texts")):
        parley("data", "audit", str(folder / name / "manifest.jsonl"), "--apart", apart)
        parley("data", "check", str(folder / name / "manifest.jsonl"), passes=(0, 1))
    said_and_written = (str(folder / "generated/manifest.jsonl"), str(folder / "commands/dialogues.jsonl"))
    parley("data", "audit", *said_and_written, "--apart", "both")


def request_jobs(said: Sequence[Request], clips: int) -> Iterator[Job]:
    """`clips` of training, each sentence about as often; of dev and test each sentence once, by voices of their own."""
    for split, variants in voices().items():
        own = [request for request in said if request.split == split]
        for i in range(clips if split == "train" else len(own)):
            rng = random.Random(f"{SEED} {split} {i}")
            voice = speech.Voice("espeak-ng", rng.choice(variants), "de")
            yield Job(f"{split}-{i:05d}", own[i % len(own)].said, voice, split)


def english_jobs(clips: int) -> Iterator[Job]:
    """The starter's domain, by the voices that it learnt from; for dev and test as its own evaluation has them.

    Sentences of training that are nearly one of dev or test are left out, and those of dev that are nearly one of test.
    """
    learnt, dev, test = (
        user_sentences(clips, SEED, "train"),
        user_sentences(120, SEED, "dev"),
        user_sentences(400, SEED, "test"),
    )
    numbers = groups([*test, *dev, *learnt])
    tested = set(numbers[: len(test)])
    heldout = set(numbers[: len(test) + len(dev)])
    for i, (text, number) in enumerate(zip(learnt, numbers[len(test) + len(dev) :], strict=True)):
        if number not in heldout:
            rng = random.Random(f"{SEED} english train {i}")
            yield Job(f"train-{i:05d}", text, speech.training_voice(rng), "train")
    for i, (text, number) in enumerate(zip(dev, numbers[len(test) :], strict=False)):
        if number not in tested:
            rng = random.Random(f"{SEED} english dev {i}")
            yield Job(f"dev-{i:05d}", text, speech.development_voice(rng), "dev")
    for i, text in enumerate(test):
        known = speech.training_voice(random.Random(f"{SEED} english test {i}"))
        yield Job(f"test-{i:05d}", text, known if i % 2 else speech.TEST_VOICE, "test")


def voices() -> dict[str, list[str]]:
    """Variants of espeak-ng by split: those of dev and test are never trained on."""
    kept_out = {*speech.ESPEAK_DEV, *TEST_VARIANTS}
    return {
        "train": [name for name in speech.espeak_variants() if name not in kept_out],
        "dev": list(speech.ESPEAK_DEV),
        "test": list(TEST_VARIANTS),
    }


def dialogue_lines(said: Sequence[Request]) -> Iterator[str]:
    """Each request that has an answer ends a dialogue, after none to EARLIER others; for `parley data import`.

    The answers belong to single requests: what was said before changes nothing, and that is to be learnt.
    """
    for split in voices():
        own = [request for request in said if request.split == split and request.answer]
        for request in own:
            rng = random.Random(f"{SEED} dialogue {request.id}")
            asked = [*(rng.choice(own) for _ in range(rng.randint(0, EARLIER))), request]
            turns = [{"role": role, "text": text} for one in asked for role, text in _turns(one)]
            told = {"source": "OHF-Voice/intents", "licence": "CC-BY-4.0", "consent": "written for publication"}
            yield json.dumps({"id": request.id, "turns": turns, "split": split, **told}, ensure_ascii=False) + "\n"


def _turns(request: Request) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("user", request.said), ("assistant", request.answer)
