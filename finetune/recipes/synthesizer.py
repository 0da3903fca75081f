"""The synthesizer recipe: `engine:` of the configuration says which kind of voice. Knows only the kinds' names."""

from __future__ import annotations

import importlib.util

from finetune.errors import ConfigError
from finetune.recipes import synthesizer_coqui, synthesizer_starter, synthesizer_xtts

__all__ = ["Config", "run"]

Config = synthesizer_starter.Config | synthesizer_coqui.Config | synthesizer_xtts.Config


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports a voice. Raises what its recipe raises, ConfigError where Coqui TTS is needed and missing."""
    expect_libraries(config, "synthesizer")
    if isinstance(config, synthesizer_coqui.Config):
        synthesizer_coqui.run(config, dry_run=dry_run, resume=resume)
    elif isinstance(config, synthesizer_xtts.Config):
        synthesizer_xtts.run(config, dry_run=dry_run, resume=resume)
    else:
        synthesizer_starter.run(config, dry_run=dry_run, resume=resume)


def expect_libraries(config: Config, recipe: str) -> None:
    """Raises ConfigError where a recipe's voice needs Coqui TTS, and this environment has none."""
    if not isinstance(config, synthesizer_starter.Config) and importlib.util.find_spec("TTS") is None:
        raise ConfigError(
            f"engine: {config.engine} needs Coqui TTS, which this environment lacks: make coqui, then "
            f".venv-coqui/bin/parley finetune {recipe} ..."
        )
