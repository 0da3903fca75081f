"""The training loop of the voice's networks: AdamW, warm-up and decay, resumable. Knows no data and no loss."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

SAVE_EVERY_SECONDS = 45.0
WARM_UP_STEPS = 60

LossOf = Callable[[int], dict[str, Tensor]]
"""Step to named losses on that step's batch; their sum is minimised. The same step draws the same batch."""


def train(name: str, network: nn.Module, losses: LossOf, *, steps: int, peak_rate: float, path: Path) -> None:
    """Trains `network` to `steps`; continues from `path` where it exists, and leaves the finished state there."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    first = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    if first >= steps:
        return
    network.train()
    began = saved = reported = time.monotonic()
    sums: dict[str, float] = {}
    seen = 0
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * learning_share(step / steps) * min(1.0, (step - first + 1) / WARM_UP_STEPS)
        parts = losses(step)
        loss = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        seen += 1
        for key, value in parts.items():
            sums[key] = sums.get(key, 0.0) + value.item()
        now, done = time.monotonic(), step + 1
        if now - reported > 15 or done == steps:
            rate = (done - first) / (now - began)
            shown = " ".join(f"{key} {total / seen:.3f}" for key, total in sums.items())
            print(
                f"{name} {done}/{steps} {shown} | {rate:.2f} steps/s, {(steps - done) / rate / 60:.1f} min left",
                flush=True,
            )
            reported, sums, seen = now, {}, 0
        if now - saved > SAVE_EVERY_SECONDS or done == steps:
            save(path, {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": done})
            saved = now


def learning_share(progress: float) -> float:
    """Of the peak rate: constant for 40 % of the training, then linear down to 3 %."""
    return max(0.03, min(1.0, (1.0 - progress) / 0.6))


def save(path: Path, state: dict[str, object]) -> None:
    """Writes a checkpoint whole or not at all: a killed run continues from the last."""
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    os.replace(partial, path)
