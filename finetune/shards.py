"""A model whose layers are shared out among the processes of a training: each keeps a part of every weight (FSDP2).

Layers alone are: embeddings and head stay whole, since soft embeddings read them outside the model's forward pass. What
gathers a whole weight is done by all processes at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from finetune import processes
from finetune.errors import ConfigError, TrainingError
from finetune.processes import is_part


def shard(model: nn.Module, device: str) -> None:
    """Shares out the layers, onto each process's device; in one process alone nothing. `device` as in `Training`.

    Raises ConfigError for a model without layers.
    """
    if processes.count() == 1:
        return
    stacks = [one for name, one in model.named_modules() if name.endswith("layers") and isinstance(one, nn.ModuleList)]
    if not stacks:
        raise ConfigError(f"shard: got a {type(model).__name__} without a list of layers, expected a decoder's")
    from accelerate import PartialState
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    processes.meet(device)
    mesh = init_device_mesh(PartialState().device.type, (processes.count(),))
    for layer in (layer for stack in stacks for layer in stack):
        # By default what has no sharded module above it stays whole after each forward pass.
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)


def sharded(model: nn.Module) -> bool:
    """Whether processes share its layers out."""
    return any(is_part(parameter) for parameter in model.parameters())


def expect_precision(model: nn.Module, precision: str) -> None:
    """Raises TrainingError for a sharded model in fp16: a process would skip a step that the others make."""
    if precision == "fp16" and sharded(model):
        raise TrainingError("precision: got fp16 with shard, expected bf16 or no")


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or all of one that processes have parts of."""
    return tensor.full_tensor() if is_part(tensor) else tensor


def held(tensor: Tensor) -> Tensor:
    """What this process has of a tensor."""
    return tensor.to_local() if is_part(tensor) else tensor


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, or this process's part of it where `other` is shared out."""
    if not is_part(other):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)


def whole_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state as if nothing were shared out."""
    state: dict[str, Any] = optimizer.state_dict()
    return {
        **state,
        "state": {
            number: {name: whole(value) if isinstance(value, Tensor) else value for name, value in one.items()}
            for number, one in state["state"].items()
        },
    }


def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts `whole_state` back."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    own = {
        number: {name: like(value, parameters[number]) if _is_moment(value) else value for name, value in one.items()}
        for number, one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": own})


def clip_gradients(parameters: Iterable[nn.Parameter], longest: float) -> float:
    """`clip_grad_norm_` of parameters of which some are shared out: their norm together, before clipping."""
    given = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in given if parameter.grad is not None]
    parts = [one.to_local() for one in gradients if is_part(one)]
    if not parts:
        return float(nn.utils.clip_grad_norm_(given, longest))
    plain = [one for one in gradients if not is_part(one)]
    squares = _squares(parts)
    torch.distributed.all_reduce(squares)
    if plain:
        squares += _squares(plain)
    norm = float(squares.sqrt())
    for one in [*parts, *plain]:
        one.mul_(min(1.0, longest / (norm + 1e-6)))  # as torch has it
    return norm


def _squares(gradients: Sequence[Tensor]) -> Tensor:
    return torch.stack([one.detach().double().square().sum() for one in gradients]).sum()


def _is_moment(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0
