"""A request as a recipe's configuration and interpreter; a run folder as measurements and checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app import REPOSITORY
from app.errors import BadRequest, JobsUnavailable, UnknownModel
from app.jobs.methods import METHODS, Places, base_of, check_model, configuration_of, python_of
from app.jobs.process import readable, reason
from tests.app.jobs.packs import write_pack

LANGUAGE = METHODS["language"]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(
        tmp_path / "jobs", tmp_path / "datasets", tmp_path / "packs", REPOSITORY / "finetune/configs", tmp_path
    )


def test_a_configuration_for_the_machine(places: Places, tmp_path: Path) -> None:
    assert configuration_of(places, LANGUAGE, None, gpu=True) == "language"
    assert configuration_of(places, LANGUAGE, None, gpu=False) == "language_tiny"
    assert configuration_of(places, METHODS["synthesizer"], None, gpu=False) == "synthesizer"
    with pytest.raises(BadRequest, match="got 'recognizer_tiny', expected one of language"):
        configuration_of(places, LANGUAGE, "recognizer_tiny", gpu=True)
    with pytest.raises(JobsUnavailable, match="no configuration of the recipe language"):
        configuration_of(Places(tmp_path, tmp_path, tmp_path, tmp_path, tmp_path), LANGUAGE, None, gpu=True)


def test_each_engine_has_its_interpreter(places: Places, tmp_path: Path) -> None:
    assert python_of(places.configs / "language.yaml") == sys.executable
    assert python_of(places.configs / "synthesizer.yaml") == sys.executable
    with pytest.raises(JobsUnavailable, match="`make coqui` brings it"):
        python_of(places.configs / "synthesizer_coqui.yaml", tmp_path / "python")
    (tmp_path / "python").touch()
    assert python_of(places.configs / "synthesizer_coqui.yaml", tmp_path / "python") == str(tmp_path / "python")
    assert python_of(places.configs / "joint_coqui.yaml", tmp_path / "python") == str(tmp_path / "python")
    assert python_of(places.configs / "joint.yaml", tmp_path / "python") == sys.executable


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
    check_model(places, METHODS["joint"], "de")
    check_model(places, METHODS["language"], "tiny")
    with pytest.raises(BadRequest, match="got model 'tiny', expected a pack"):
        check_model(places, METHODS["joint"], "tiny")


def test_why_a_process_failed() -> None:
    said = readable(b"  0%|      \r 50%|###   \rTraceback\r\nparley: data: got nothing\n\nbye\n")
    assert said == "Traceback\nparley: data: got nothing\n\nbye\n"
    assert reason(said, 1) == "data: got nothing"
    assert reason("Traceback\nValueError: x\n", 1) == "the recipe ended with exit status 1: ValueError: x"
    assert reason("", 3) == "the recipe ended with exit status 3: it said nothing"
    assert reason("", -9) == "the recipe was killed by SIGKILL, perhaps since memory ran out"
