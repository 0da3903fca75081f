"""Coqui's kinds of voices, as far as they go without Coqui; the rest is in tests/engines/test_coqui*_recipe.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from app import REPOSITORY
from finetune import config
from finetune.errors import ConfigError
from finetune.recipes import synthesizer, synthesizer_coqui

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
