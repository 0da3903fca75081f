"""Where the joint recipe's first stage is done once, for tests of what comes after it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from finetune import config
from finetune.recipes import joint
from finetune.recipes.joint_config import Config
from tests.finetune.joint.tiny_joint import TINY, overrides

SHORT = [
    f"{stage}.{key}={value}"
    for stage in ("recognizer.training", "language.training", "voice.training", "voice.vocoder")
    for key, value in (("steps", 2), ("evaluate_every", 2))
] + [
    f"{stage}.{key}={value}"
    for stage in ("noisy", "joint", "finish")
    for key, value in (("steps", 2), ("evaluate_every", 2), ("save_every", 1), ("log_every", 1))
]
EVERY = ("rung=every", "every=2")


@dataclasses.dataclass(frozen=True)
class Place:
    """Data, and a run whose first stage is done."""

    folder: Path
    data: Path

    def overrides(self, name: str, *others: str) -> list[str]:
        heard = (f"unpaired=[{self.folder}/unpaired/manifest.jsonl]", "least_confidence=-100")
        return overrides(self.folder / name, self.data, *SHORT, *heard, "edges.unpaired.weight=0.3", *others)

    def config(self, name: str, *others: str) -> Config:
        return config.load(Config, TINY, self.overrides(name, *others))

    def begun(self, name: str, *others: str) -> Config:
        """A run with the first stage of `staged`."""
        for model in joint.MODELS:
            shutil.copytree(self.folder / "staged" / model, self.folder / name / model)
        return self.config(name, *others)


def facts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "facts.json").read_text())
    return found


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
