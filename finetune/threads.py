"""How many threads torch computes with, kept where CTranslate2 loads a model beside it. Knows no model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """As many afterwards as before.

    CTranslate2 gives OpenMP its own number for the thread that loads a model, and torch asks the same OpenMP: what is
    trained after an export would be computed on one core.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
