"""What the processes of one training, each with its own device, do together; in one process alone, nothing.

They are those that `accelerate launch` starts. Each call here is one that all of them make, in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

T = TypeVar("T")

PATIENCE = timedelta(hours=12)
"""How long a process waits for another one: while the first one exports and proves a model, the others have nothing to
do. torch's own ten minutes would end them."""


def count() -> int:
    """How many there are; also before they have met."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_part(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether each process has only a part of it (`shards.shard`)."""
    if count() == 1:
        return False
    from torch.distributed.tensor import DTensor  # takes a second to import

    return isinstance(tensor, DTensor)


def meet(device: str) -> None:
    """Has the processes find each other; `device` as in `Training.device`."""
    from accelerate import PartialState

    PartialState(cpu=device == "cpu", **({"timeout": PATIENCE} if count() > 1 else {}))


def wait() -> None:
    """Until all are here: what the first one has written is there for the others."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def agreed(value: T) -> T:
    """The first process's value; those of the others may differ in the last digit, or be older."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    found: list[T] = [value]
    broadcast_object_list(found)
    return found[0]


def mean(measured: Mapping[str, float]) -> dict[str, float]:
    """Each measure's mean over the processes; one that a process does not have counts as 0 there."""
    if count() == 1:
        return dict(measured)
    from accelerate.utils import gather_object

    found: Sequence[Mapping[str, float]] = gather_object([dict(measured)])
    names = dict.fromkeys(name for one in found for name in one)
    return {name: sum(one.get(name, 0.0) for one in found) / len(found) for name in names}


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Gives all processes the mean of their gradients; a parameter without one counts as 0, unless none has one.

    By hand, where a loss goes through several models: DistributedDataParallel averages after the forward and backward
    pass of its one model, and would wait for the passes that a process without that edge never makes.
    """
    parameters = [one for one in parameters if not is_part(one)]  # FSDP has averaged those
    if count() == 1 or not parameters:
        return
    present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
    torch.distributed.all_reduce(present, op=torch.distributed.ReduceOp.MAX)
    waiting: list[Any] = []
    for parameter in (p for p, there in zip(parameters, present.tolist(), strict=True) if there):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.div_(count())
        waiting.append(torch.distributed.all_reduce(parameter.grad, async_op=True))
    for one in waiting:
        one.wait()
