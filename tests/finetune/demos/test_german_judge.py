"""The judge of the German voice learns from voices that the pack has heard in no stage."""

from __future__ import annotations

import pytest

from finetune.demos import german_data, german_judge
from finetune.demos.german_text import Request
from finetune.starter.speech import missing_programs

SENTENCES = {"train": ["er ist da", "sie ist dort"], "dev": ["es war einmal"]}
SAID = [Request(f"{split}{i}", f"{split} {i}", "", split) for split in ("train", "dev", "test") for i in range(30)]


@pytest.mark.skipif("espeak-ng" in missing_programs(), reason="espeak-ng is not installed")
def test_voices_and_texts_are_apart_from_the_packs_and_between_splits() -> None:
    jobs = list(german_judge.jobs(SAID, SENTENCES, clips=20))
    counts = {split: sum(job.split == split for job in jobs) for split in ("train", "dev", "test")}
    assert counts == {"train": 2 * german_judge.ROUNDS + 20, "dev": 1 + 2, "test": 0}
    heard = {split: {str(job.voice) for job in jobs if job.split == split} for split in ("train", "dev")}
    texts = {split: {job.text for job in jobs if job.split == split} for split in ("train", "dev")}
    assert not heard["train"] & heard["dev"]
    assert not texts["train"] & texts["dev"]
    assert not {name for names in german_judge.VOICES.values() for name in names} & set(german_data.voices()["train"])
    assert jobs == list(german_judge.jobs(SAID, SENTENCES, clips=20))
