"""The most memory that training takes: of the accelerator where one trains, else of this process. Knows no loop."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import nn

PROCESS = Path("/proc/self")
RESET_PEAK = "5"
"""Linux: proc(5), clear_refs."""


def begin(model: nn.Module) -> None:
    """What was taken before is forgotten; where a container forbids that, a process's peak is the most so far."""
    if _on_accelerator(model):
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            (PROCESS / "clear_refs").write_text(RESET_PEAK)


def peak(model: nn.Module) -> int:
    """Bytes, since `begin`."""
    if _on_accelerator(model):
        return torch.cuda.max_memory_allocated()
    lines = (PROCESS / "status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def _on_accelerator(model: nn.Module) -> bool:
    return next(model.parameters()).device.type != "cpu"
