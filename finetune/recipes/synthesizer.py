"""The synthesizer recipe: `engine:` of the configuration says which kind of voice. Knows only the kinds' names."""

from __future__ import annotations

from finetune.recipes import synthesizer_starter

__all__ = ["Config", "run"]

Config = synthesizer_starter.Config  # a second engine makes this a union: `synthesizer_starter.Config | ...Config`


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports a voice. Raises what its engine's recipe raises."""
    synthesizer_starter.run(config, dry_run=dry_run, resume=resume)
