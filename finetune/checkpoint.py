"""Checkpoints: one file with everything that the next step depends on, written whole or not at all. Knows no loop.

A process that is killed at any moment leaves the last whole file. What is restored makes the same steps as a process
that was never killed: bit-equal on the CPU with the same number of threads.
"""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finetune import shards
from finetune.errors import CheckpointError


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors, numbers, texts and containers of them; a kill on the way leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)  # the new name is on disk only once its folder is
    os.fsync(folder)
    os.close(folder)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote, on the CPU; code in the file is never run. Raises CheckpointError."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no whole checkpoint: {error}") from error
    return state


def weights(model: nn.Module) -> dict[str, Tensor]:
    """What training changes: trained parameters, each once, and buffers. Frozen ones come from the base again.

    Of a sharded model the whole ones, for which all processes have to ask at once.
    """
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = model.state_dict()
    return {
        name: shards.whole(tensor.detach()).to("cpu", copy=True).contiguous()
        for name, tensor in state.items()
        if name in trained or name not in known
    }


def restore_weights(model: nn.Module, saved: Mapping[str, Tensor], where: str) -> None:
    """Puts `weights` back. Raises CheckpointError where they are those of another model."""
    present = weights(model)
    if missing := sorted(present.keys() ^ saved.keys()):
        raise CheckpointError(f"{where}: weights {missing[0]} and {len(missing) - 1} others are only in one of the two")
    for name, tensor in saved.items():
        if tensor.shape != present[name].shape:
            got, expected = tuple(tensor.shape), tuple(present[name].shape)
            raise CheckpointError(f"{where}: {name} has shape {got}, expected {expected}")
    own = model.state_dict()
    model.load_state_dict({name: shards.like(tensor, own[name]) for name, tensor in saved.items()}, strict=False)


def seed_everything(seed: int) -> None:
    """Seeds python's, numpy's and torch's sources of chance, before the model is made."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The state of all sources of chance of this process, as `save` takes it."""
    kind, words, position, has_normal, normal = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(words).astype(np.int64)), position, has_normal, normal],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Continues the sources of chance where `random_state` found them."""
    version, words, normal = state["python"]
    random.setstate((version, tuple(words), normal))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
