"""Hyperparameters as overrides of a recipe's command line, of one model and of three."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import REPOSITORY
from app.errors import BadRequest, NotFound, UnknownModel
from app.jobs.methods import METHODS, Places
from app.jobs.overrides import check_hyperparameters, overrides_of
from app.jobs.store import Job
from finetune import config
from finetune.recipes import joint_config
from tests.app.jobs.packs import write_pack


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Two data sets of dialogues, one of them with recordings; a pack and a base."""
    made = Places(
        tmp_path / "jobs", tmp_path / "datasets", tmp_path / "packs", REPOSITORY / "finetune/configs", tmp_path
    )
    for name, splits in (("de", ["train"] * 10 + ["dev", "test", ""]), ("en", ["train"])):
        folder = made.datasets / name
        folder.mkdir(parents=True)
        lines = [json.dumps({"id": str(i), "split": split}) for i, split in enumerate(splits)]
        (folder / "dialogues.jsonl").write_text("\n".join(lines) + "\n")
    (made.datasets / "de/manifest.jsonl").write_text('{"id": "1"}\n' * 30)
    with (write_pack(made.packs) / "pack.toml").open("a") as settings:
        settings.write('[language]\nprompt = "Answer in German."\nspoken_input = true\n')
    (made.folder / "bases/tiny").mkdir(parents=True)
    return made


def overrides(places: Places, method: str = "language", model: str = "tiny", /, **given: Any) -> dict[str, Any]:
    configuration = METHODS[method].small  # language_tiny: 8 rows, 1e-3
    job = Job(
        id="ftjob-1", method=method, model=model, configuration=configuration, hyperparameters=given,
        training_file="dataset:de", seed=7,
    )  # fmt: skip
    return {key: json.loads(value) for key, _, value in (text.partition("=") for text in overrides_of(places, job))}


def asked(places: Places, **given: Any) -> dict[str, Any]:
    """What hyperparameters add to what every job has."""
    always = overrides(places)
    assert always.keys() == {"run", "base", "data", "training.seed"}
    return {key: value for key, value in overrides(places, **given).items() if always.get(key) != value}


def test_openais_hyperparameters_mean_keys_of_the_recipe(places: Places) -> None:
    assert asked(places, n_epochs="auto", batch_size="auto") == {}
    assert asked(places, n_epochs=3) == {"training.steps": 5}  # 3 * 11 rows, 8 a step
    assert asked(places, n_epochs=2, batch_size=2, learning_rate_multiplier=0.5) == {
        "rows": 2, "training.learning_rate": 0.0005, "training.steps": 11,
    }  # fmt: skip
    assert asked(places, n_epochs=2, **{"training.steps": 7}) == {"training.steps": 7}


def test_data_sets_go_by_name(places: Places) -> None:
    english = str(places.datasets / "en/dialogues.jsonl")
    assert asked(places, **{"rehearsal.data": ["dataset:en"]}) == {"rehearsal.data": [english]}
    assert asked(places, **{"rehearsal.data": "dataset:en"}) == {"rehearsal.data": [english]}
    with pytest.raises(NotFound):
        overrides(places, **{"rehearsal.data": ["dataset:nl"]})
    split = places.datasets / "en/dialogues.split.jsonl"
    split.write_text("")
    assert asked(places, **{"rehearsal.data": ["dataset:en"]}) == {"rehearsal.data": [str(split)]}


def test_a_pack_gives_the_prompt_and_a_seed_is_everybodys(places: Places) -> None:
    found = overrides(places, "language", "de")
    assert found["base"] == str(places.packs / "de")
    assert found["prompt"] == "Answer in German."
    voice = overrides(places, "synthesizer", "de", learning_rate_multiplier=2)
    assert (voice["training.seed"], voice["vocoder.seed"]) == (7, 7)
    assert voice["vocoder.learning_rate"] == pytest.approx(2 * 7e-4)
    assert overrides(places, "joint", "de")["spoken_input"] is True


def test_a_joint_job_has_three_bases_and_data_of_two_kinds(places: Places) -> None:
    given = {"language.base": "tiny", "voice.training.steps": 3, "language.data": "dataset:en"}
    found = overrides(places, "joint", "de", n_epochs=2, batch_size=3, **given)
    speech = [str(places.datasets / "de/manifest.jsonl")]
    assert (found["recognizer.base"], found["recognizer.data"]) == (str(places.packs / "de"), speech)
    assert (found["voice.base"], found["voice.data"]) == (str(places.packs / "de"), speech)
    assert found["language.base"] == str(places.folder / "bases/tiny")
    assert found["language.data"] == [str(places.datasets / "en/dialogues.jsonl")]
    steps = [found[f"{name}.training.steps"] for name in ("recognizer", "language", "voice")]
    assert steps == [20, 1, 3]  # 2 * 30 rows by 3, 2 * 1 row by 3, as asked
    assert {found[f"{name}.seed"] for name in ("noisy", "joint", "finish", "voice.vocoder", "recognizer.training")} == {
        7
    }
    texts = [f"{key}={json.dumps(value)}" for key, value in found.items()]
    loaded = config.load(joint_config.Config, places.configs / "joint_tiny.yaml", texts)
    assert (loaded.voice.batch, loaded.language.rows, loaded.voice.data) == (3, 3, tuple(speech))
    assert loaded.language.prompt == "You are Parley, a friendly voice assistant."  # of a base, which has none


def test_what_may_not_be_given(places: Places) -> None:
    joint = METHODS["joint"]
    check_hyperparameters(places, joint, {"recognizer.base": "openai/whisper-small", "texts": ["a word"]})
    refused: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"recognizer.run": "x"}, BadRequest), ({"voice.vocoder.seed": 1}, BadRequest),
        ({"voice.engine": "coqui-vits"}, BadRequest), ({"base": "tiny"}, BadRequest), ({"data": []}, BadRequest),
        ({"language.base": "/etc"}, UnknownModel), ({"language.base": "app/jobs"}, UnknownModel),
        ({"language.base": 3}, BadRequest), ({"texts": ["README.md"]}, BadRequest),
        ({"language.data": "dataset:nl"}, NotFound), ({"language.data": "dataset:../de"}, BadRequest),
    ]  # fmt: skip
    for given, error in refused:
        with pytest.raises(error):
            check_hyperparameters(places, joint, given)
