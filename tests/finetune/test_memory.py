"""The peak of memory: what was held since it was begun, though it has been let go."""

from __future__ import annotations

import torch
from torch import nn

from finetune import memory

MIB = 2**20


def test_the_peak_is_of_what_came_since_it_was_begun() -> None:
    model = nn.Linear(2, 2)
    held = torch.ones(64 * MIB)  # 256 MiB
    del held
    memory.begin(model)
    before = memory.peak(model)
    held = torch.ones(32 * MIB)
    during = memory.peak(model)
    del held
    assert 100 * MIB < during - before < 150 * MIB
    assert memory.peak(model) > during - MIB  # the kernel counts in strides
    memory.begin(model)
    assert memory.peak(model) < during - 100 * MIB
