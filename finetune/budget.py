"""Seconds that a training may take and has taken, also across interruptions. Knows no model.

Of this process's CPU, so that whoever else loads the machine takes nothing away; where an accelerator does the work, of
the clock. Counted from where training begins: what is read, exported and proved is not among them.
"""

from __future__ import annotations

import time
from typing import Any

from finetune.errors import TrainingError


class Budget:
    """What `Training.budget_seconds` leaves. Without one nothing is counted."""

    def __init__(self, seconds: float | None, before: float, accelerator: Any) -> None:
        """`before`: seconds that were spent until the checkpoint. Raises TrainingError for several processes, which
        would not all end at the same step."""
        if seconds and accelerator.num_processes > 1:
            raise TrainingError(f"budget_seconds takes one process, got {accelerator.num_processes}")
        self._seconds = seconds
        self._clock = time.process_time if accelerator.device.type == "cpu" else time.perf_counter
        self._began = self._clock() - before

    def spent(self) -> float:
        """Seconds."""
        return self._clock() - self._began if self._seconds else 0.0

    def share(self) -> float:
        """Of the budget that is spent; from 1 on training ends."""
        return self.spent() / self._seconds if self._seconds else 0.0
