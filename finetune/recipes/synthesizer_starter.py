"""The starter's kind of voice, in any language: from recordings to an exported voice, in numbered steps."""

from __future__ import annotations

from finetune.errors import ConfigError
from finetune.recipes.synthesizer_starter_config import Config

__all__ = ["Config", "run"]


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError."""
    raise ConfigError(f"{config.run}: engine starter cannot be trained yet")
