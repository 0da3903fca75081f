"""Coqui's kinds of voices, as far as they go without Coqui; the rest is in tests/engines/test_coqui*_recipe.py."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from app import REPOSITORY
from finetune import config
from finetune.compare.config import Config as Comparison
from finetune.errors import ConfigError
from finetune.recipes import joint, synthesizer, synthesizer_coqui

CONFIGS = REPOSITORY / "finetune/configs"


@pytest.mark.parametrize("name", ["synthesizer_coqui.yaml", "synthesizer_coqui_tiny.yaml"])
def test_configurations_are_read_by_their_engine(name: str) -> None:
    found = config.load(synthesizer.Config, CONFIGS / name)
    assert isinstance(found, synthesizer_coqui.Config)
    assert found.training.schedule == "exponential"
    if found.base.endswith(".json"):
        assert (REPOSITORY / found.base).is_file()


def test_dev_does_not_end_it_and_a_licence_is_named() -> None:
    for override, said in (
        ("training.patience=3", r"training\.patience: got 3, expected 0: dev cannot say when to stop"),
        ("licence=''", "licence: got nothing, expected that of the trained voice"),
    ):
        with pytest.raises(ConfigError, match=said):
            config.load(synthesizer.Config, CONFIGS / "synthesizer_coqui_tiny.yaml", [override])


@pytest.mark.skipif(importlib.util.find_spec("TTS") is not None, reason="Coqui TTS is installed here")
@pytest.mark.parametrize("name", ["synthesizer_coqui_tiny.yaml", "synthesizer_xtts.yaml"])
def test_an_environment_without_coqui_says_where_to_run(name: str, tmp_path: Path) -> None:
    asked = config.load(synthesizer.Config, CONFIGS / name, [f"run={tmp_path / 'run'}"])
    with pytest.raises(ConfigError, match=r"needs Coqui TTS, .* \.venv-coqui/bin/parley finetune synthesizer"):
        synthesizer.run(asked)
    assert not (tmp_path / "run").exists()


def test_the_voice_of_a_joint_run_says_its_engine() -> None:
    found = config.load(joint.Config, CONFIGS / "joint_coqui.yaml")
    assert isinstance(found.voice, synthesizer_coqui.Config)
    assert config.fill(joint.Config, config.plain(found), "config.yaml of its run").voice == found.voice
    for name in ("coqui-xtts", "chattts"):
        with pytest.raises(ConfigError, match=rf"voice\.engine: got '{name}', expected one of starter, coqui-vits$"):
            config.load(joint.Config, CONFIGS / "joint_coqui.yaml", [f"voice.engine={name}"])
    with pytest.raises(ConfigError, match="voice: got 7, expected keys below it"):
        config.load(joint.Config, CONFIGS / "joint_coqui.yaml", ["voice=7"])


def test_a_comparison_takes_no_voice_of_coqui() -> None:
    voice = config.plain(config.load(joint.Config, CONFIGS / "joint_coqui.yaml").voice)
    with pytest.raises(ConfigError, match=r"joint: voice\.engine: got coqui-vits, expected starter"):
        config.load(Comparison, CONFIGS / "compare.yaml", [f"joint.voice={json.dumps(voice)}"])


@pytest.mark.skipif(importlib.util.find_spec("TTS") is not None, reason="Coqui TTS is installed here")
def test_a_joint_run_without_coqui_says_where_to_run_before_anything_is_trained(tmp_path: Path) -> None:
    asked = config.load(joint.Config, CONFIGS / "joint_coqui.yaml", [f"run={tmp_path / 'run'}"])
    for dry_run in (False, True):
        with pytest.raises(ConfigError, match=r"needs Coqui TTS, .* \.venv-coqui/bin/parley finetune joint"):
            joint.run(asked, dry_run=dry_run)
    assert not (tmp_path / "run").exists()
