"""A request as a recipe's configuration, interpreter and overrides; a run folder as measurements and checkpoints."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from app.errors import BadRequest, JobsUnavailable, NotFound, UnknownModel
from app.jobs import progress
from app.jobs.methods import METHODS, REPOSITORY, Places, base_of, configuration_of, overrides_of, python_of
from app.jobs.process import readable, reason
from tests.app.jobs.packs import write_pack

LANGUAGE = METHODS["language"]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "jobs", tmp_path / "datasets", tmp_path / "packs", REPOSITORY / "finetune/configs")
    for name, splits in (("de", ["train"] * 10 + ["dev", "test", ""]), ("en", ["train"])):
        folder = made.datasets / name
        folder.mkdir(parents=True)
        lines = [json.dumps({"id": str(i), "split": split}) for i, split in enumerate(splits)]
        (folder / "dialogues.jsonl").write_text("\n".join(lines) + "\n")
    return made


def overrides(places: Places, **given: Any) -> list[str]:
    configuration = places.configs / "language_tiny.yaml"  # 8 rows, 1e-3
    manifest = places.datasets / "de/dialogues.jsonl"
    return overrides_of(places, LANGUAGE, given, configuration=configuration, manifest=manifest)


def test_openais_hyperparameters_mean_keys_of_the_recipe(places: Places) -> None:
    assert overrides(places, n_epochs="auto", batch_size="auto") == []
    assert overrides(places, n_epochs=3) == ["training.steps=5"]  # 3 * 11 rows, 8 a step
    given = overrides(places, n_epochs=2, batch_size=2, learning_rate_multiplier=0.5)
    assert given == ["rows=2", "training.learning_rate=0.0005", "training.steps=11"]
    assert overrides(places, n_epochs=2, **{"training.steps": 7}) == ["training.steps=7"]
    given = overrides(places, **{"rehearsal.data": ["dataset:en"], "rehearsal.share": 0.3})
    assert given == [f'rehearsal.data=["{places.datasets}/en/dialogues.jsonl"]', "rehearsal.share=0.3"]
    with pytest.raises(NotFound):
        overrides(places, **{"rehearsal.data": ["dataset:nl"]})


def test_a_split_manifest_goes_first(places: Places) -> None:
    split = places.datasets / "en/dialogues.split.jsonl"
    split.write_text("")
    assert str(split) in overrides(places, **{"rehearsal.data": ["dataset:en"]})[0]


def test_a_configuration_for_the_machine(places: Places, tmp_path: Path) -> None:
    assert configuration_of(places, LANGUAGE, None, gpu=True) == "language"
    assert configuration_of(places, LANGUAGE, None, gpu=False) == "language_tiny"
    assert configuration_of(places, METHODS["synthesizer"], None, gpu=False) == "synthesizer"
    with pytest.raises(BadRequest, match="got 'recognizer_tiny', expected one of language"):
        configuration_of(places, LANGUAGE, "recognizer_tiny", gpu=True)
    with pytest.raises(JobsUnavailable, match="no configuration of the recipe language"):
        configuration_of(Places(tmp_path, tmp_path, tmp_path, tmp_path), LANGUAGE, None, gpu=True)


def test_each_engine_has_its_interpreter(places: Places, tmp_path: Path) -> None:
    assert python_of(places.configs / "language.yaml") == sys.executable
    assert python_of(places.configs / "synthesizer.yaml") == sys.executable
    with pytest.raises(JobsUnavailable, match="`make coqui` brings it"):
        python_of(places.configs / "synthesizer_coqui.yaml", tmp_path / "python")
    (tmp_path / "python").touch()
    assert python_of(places.configs / "synthesizer_coqui.yaml", tmp_path / "python") == str(tmp_path / "python")


def test_what_a_model_is_called(places: Places) -> None:
    folder = write_pack(places.packs)
    (places.folder / "bases/tiny").mkdir(parents=True)
    base, pack = base_of(places, "de")
    assert (base, pack and pack.reference) == (str(folder), "de@1")
    assert base_of(places, "tiny") == (str(places.folder / "bases/tiny"), None)
    assert base_of(places, "openai/whisper-small") == ("openai/whisper-small", None)
    for name in ("nl", "app/jobs", "/etc", "../de", "a/b/c", "..", ".hidden/x"):
        with pytest.raises(UnknownModel):
            base_of(places, name)


def test_measurements_of_one_network_after_the_other(tmp_path: Path) -> None:
    for part, steps in (("align", 4), ("acoustic", 8)):
        (tmp_path / part / "best").mkdir(parents=True)
        rows = [{"step": step, "seconds": step * 2.0, "loss": 1.0 / step} for step in range(1, steps // 2 + 1)]
        (tmp_path / part / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 9')
        (tmp_path / part / "facts.json").write_text(json.dumps({"configuration": {"training": {"steps": steps}}}))
        (tmp_path / part / "config.yaml").touch()
        os.utime(tmp_path / part / "config.yaml", (steps, steps))  # the one began before the other
        (tmp_path / part / "best" / f"step-{steps // 2:06d}.pt").touch()
    measured = progress.rows(tmp_path)
    assert [(row["stage"], row["step"], row["total_steps"]) for row in measured] == [
        ("align", 1, 4), ("align", 2, 4),
        ("acoustic", 1, 8), ("acoustic", 2, 8), ("acoustic", 3, 8), ("acoustic", 4, 8),
    ]  # fmt: skip
    assert progress.seconds_left(measured) == 8.0  # 4 steps at 2 s
    assert len(progress.events_of(measured)) == 6
    assert progress.events_of(measured) == progress.events_of([*measured, *measured])
    found = {(one.stage, one.step): one.metrics for one in progress.checkpoints(tmp_path)}
    assert found == {
        ("align", 2): {"step": 2, "seconds": 4.0, "train_loss": 0.5},
        ("acoustic", 4): {"step": 4, "seconds": 8.0, "train_loss": 0.25},
    }
    names = [str(path.relative_to(tmp_path)) for path in progress.results(tmp_path)]
    assert names[:3] == ["align/config.yaml", "align/facts.json", "align/metrics.jsonl"]
    assert (progress.rows(tmp_path / "none"), progress.seconds_left([])) == ([], None)


def test_why_a_process_failed() -> None:
    said = readable(b"  0%|      \r 50%|###   \rTraceback\r\nparley: data: got nothing\n\nbye\n")
    assert said == "Traceback\nparley: data: got nothing\n\nbye\n"
    assert reason(said, 1) == "data: got nothing"
    assert reason("Traceback\nValueError: x\n", 1) == "the recipe ended with exit status 1: ValueError: x"
    assert reason("", 3) == "the recipe ended with exit status 3: it said nothing"
    assert reason("", -9) == "the recipe was killed by SIGKILL, perhaps since memory ran out"
