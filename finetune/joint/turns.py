"""Has processes that share a model's layers out call that model equally often. Knows no edge.

Each call of a sharded model is one that all processes make, forwards and backwards. How often a step of joint training
calls the language model depends on what was heard in it, so a process that has nothing more to ask asks for one token
until the others are done, and every answer is part of its loss, with weight 0. Backwards the calls come in reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from finetune import shards

DONE, READS, LEARNS = 0, 1, 2
"""What a process does next: no call, one without a gradient, one with."""

Losses = Callable[[int, Any], Mapping[str, Tensor]]


def evenly(model: nn.Module, losses: Losses) -> Losses:
    """The losses, where `model` is a causal language model that may be sharded; else the same function."""
    if not shards.sharded(model):
        return losses

    def even(step: int, batch: Any) -> dict[str, Tensor]:
        with Turns(model) as turns:
            found = dict(losses(step, batch))
            unused = turns.finish()
        name = next(iter(found))
        return {**found, name: found[name] + unused}

    return even


class Turns:
    """Open while the model is called."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._asking = False
        self._unused = torch.zeros((), device=self._device)

    def __enter__(self) -> Turns:
        self._hooks = [
            self._model.register_forward_pre_hook(lambda *_: self._before()),
            self._model.register_forward_hook(lambda _, __, output: self._after(output)),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def finish(self) -> Tensor:
        """Waits until all processes are done; a zero whose gradient, zero too, comes through every call."""
        while (turn := self._next(DONE)) != DONE:
            self._ask(turn)
        return self._unused

    def _before(self) -> None:
        if self._asking:
            return
        own = LEARNS if torch.is_grad_enabled() else READS
        while (turn := self._next(own)) != own:
            self._ask(turn)

    def _after(self, output: Any) -> None:
        if output.logits.requires_grad:
            self._unused = self._unused + output.logits[0, -1, 0].float() * 0

    def _ask(self, turn: int) -> None:
        self._asking = True
        with torch.set_grad_enabled(turn == LEARNS):
            self._model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=self._device), use_cache=False)
        self._asking = False

    def _next(self, own: int) -> int:
        """What all do now: the most that one of them is about to do."""
        turn = torch.tensor(own, device=self._device)
        torch.distributed.all_reduce(turn, op=torch.distributed.ReduceOp.MAX)
        return int(turn)
