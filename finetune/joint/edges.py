"""An edge as data: how much it counts, from when on, and how much of its gradient crosses. Knows no model.

The crossing is where a tensor goes from one model into another. The scale changes what goes back across it, not what
the loss teaches the model behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Edge:
    """One edge's part of the configuration."""

    weight: float = 0.0
    """Of its loss; 0: the edge is not there."""
    gradient_scale: float = 1.0
    """Factor on the gradient that crosses."""
    from_step: int = 0
    """The first step in which it counts."""
    ramp_steps: int = 0
    """Over which `gradient_scale` rises from nothing."""
    detach: bool = False
    """Nothing crosses: the loss teaches only the model behind the crossing."""

    def __post_init__(self) -> None:
        for name in ("weight", "gradient_scale", "from_step", "ramp_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 or more")

    def on(self, step: int) -> bool:
        """Whether it counts in a step."""
        return self.weight > 0 and step >= self.from_step

    def scale(self, step: int) -> float:
        """Factor on what crosses in a step."""
        if self.detach or not self.on(step):
            return 0.0
        ramped = min(1.0, (step - self.from_step + 1) / (self.ramp_steps + 1))
        return self.gradient_scale * ramped


class Crossing:
    """The crossing of one edge; adds up the squares of the gradients that cross in a step."""

    def __init__(self) -> None:
        self._squares = torch.zeros((), dtype=torch.float64)

    def __call__(self, tensor: Tensor, scale: float) -> Tensor:
        """The tensor itself, to the last bit; its gradient is multiplied by `scale` on the way back."""
        if not scale:
            return tensor.detach()
        crossed: Tensor = _Scaled.apply(tensor, scale, self._squares)  # type: ignore[no-untyped-call]
        return crossed

    def norm(self) -> float:
        """Of all that has crossed since it was last asked, after the scale."""
        norm = float(self._squares.sqrt())
        self._squares.zero_()
        return norm


def scale_gradient(tensor: Tensor, scale: float) -> Tensor:
    """The tensor itself, with `scale` times its gradient."""
    return Crossing()(tensor, scale)


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor, scale: float, squares: Tensor) -> Tensor:
        context.scale, context.squares = scale, squares
        return tensor.view_as(tensor)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        scaled = gradients[0] * context.scale
        context.squares += scaled.detach().double().square().sum().to(context.squares.device)
        return scaled, None, None
