"""Which weights of a model stay as they are, by patterns of their names. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor

from finetune.errors import ConfigError


def freeze(weights: Mapping[str, Tensor], patterns: Sequence[str]) -> None:
    """Takes the gradient from weights whose name one of the patterns (`model.layers.[0-3].*`) matches.

    Raises ConfigError for a pattern that matches none, and where nothing is left to train.
    """
    for pattern in patterns:
        matched = [name for name in weights if fnmatchcase(name, pattern)]
        if not matched:
            raise ConfigError(f"frozen: {pattern!r} matches no weight, expected one like {next(iter(weights))}")
        for name in matched:
            weights[name].requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise ConfigError(f"frozen: got {', '.join(patterns)}, which leaves no weight to train")
