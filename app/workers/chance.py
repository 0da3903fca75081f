"""A source of chance of torch for one stream, so that what one caller hears never depends on who else speaks."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any


class Chance:
    """Begins with a text, so that it always sounds the same; used by one stream, one step at a time."""

    def __init__(self, text: str, device: str) -> None:
        import torch

        self._torch = torch
        self._devices = [torch.cuda.current_device()] if device.startswith("cuda") else []
        with torch.random.fork_rng(devices=self._devices):
            torch.manual_seed(zlib.crc32(text.encode()))
            self._keep()

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """While this runs torch draws from here; afterwards it goes on as before."""
        with self._torch.random.fork_rng(devices=self._devices):
            self._torch.set_rng_state(self._state)
            for device, state in zip(self._devices, self._device_states, strict=True):
                self._torch.cuda.set_rng_state(state, device)
            yield
            self._keep()

    def _keep(self) -> None:
        self._state: Any = self._torch.get_rng_state()
        self._device_states: list[Any] = [self._torch.cuda.get_rng_state(device) for device in self._devices]
