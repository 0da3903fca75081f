"""A recipe in a process that dies without warning: `python -m MODULE KILL KEY=VALUE...` kills itself at batch KILL."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from finetune import config


def run(recipe: ModuleType, batches: Any, file: Path) -> None:
    """Runs a recipe by the process's arguments; `batches` is the class whose method `batch` is given the number."""
    batch = batches.batch

    def deadly(self: Any, number: int) -> Any:
        if number == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(self, number)

    batches.batch = deadly
    recipe.run(config.load(recipe.Config, file, sys.argv[2:]))
