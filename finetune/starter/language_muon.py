"""Muon: momentum whose every singular value is made equal, for weight matrices. Knows no model.

Sources: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024) for the iteration and its
coefficients; arXiv 2502.16982 for the scale by which a learning rate of AdamW fits. torch's own computes in bfloat16,
which costs a CPU without AVX-512 more than the whole rest of a step.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ADAMW_SCALE = 0.2  # root mean square of an AdamW update, over its learning rate


class Muon(torch.optim.Optimizer):
    """Updates matrices [M, N]; matrices of one shape are made orthogonal together."""

    def __init__(self, params: Any, weight_decay: float) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients."""
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[torch.Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                shapes[tuple(matrix.shape)].append(matrix)
            for shape, matrices in shapes.items():
                updates = orthogonal(torch.stack([self._momentum(matrix) for matrix in matrices]))
                scale = ADAMW_SCALE * max(shape) ** 0.5
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(update, alpha=-group["lr"] * scale)

    def _momentum(self, matrix: torch.Tensor) -> torch.Tensor:
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        momentum: torch.Tensor = state["momentum"]
        momentum.lerp_(matrix.grad, 1 - MOMENTUM)
        return matrix.grad.lerp(momentum, MOMENTUM)  # Nesterov


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """[K, M, N] with singular values near 1 and the same singular vectors, by Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: torch.Tensor = x.mT if tall else x
    return result
