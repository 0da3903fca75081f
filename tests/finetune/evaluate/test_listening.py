"""Clips are heard once each: what is kept survives an interruption, and a refused language is heard as nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import BadRequest, WorkerError
from app.workers.scripted import ScriptedRecognizer
from finetune.data.kept import Kept
from finetune.evaluate.cases import clips
from finetune.evaluate.listening import Heard, hear
from tests.finetune.data.samples import dataset, utterance


async def heard(manifest: Path, *script: str | Exception) -> list[Heard]:
    """By a recognizer that hears these, one a clip."""
    with Kept(manifest.parent / "kept.jsonl") as kept:
        return await hear(ScriptedRecognizer(script), clips([manifest]), kept, "weights", "scripted")


async def test_an_interrupted_evaluation_goes_on_where_it_was(tmp_path: Path) -> None:
    manifest = dataset(tmp_path, [utterance(name) for name in "abc"])
    with pytest.raises(WorkerError):
        await heard(manifest, "one", WorkerError("gone"))
    found = await heard(manifest, "two", "three")
    assert [one.text for one in found] == ["one", "two", "three"]
    assert all(one.seconds == 1.0 and one.finish_ms is not None for one in found)
    assert await heard(manifest) == found


async def test_a_language_that_is_refused_is_heard_as_nothing(tmp_path: Path) -> None:
    manifest = dataset(tmp_path, [utterance("a", language="de"), utterance("b")])
    found = await heard(manifest, BadRequest("only English"), "yes")
    assert [(one.text, one.finish_ms is None) for one in found] == [("", True), ("yes", False)]
