"""A recipe as a process of its own, watched by what it measures: of searches and learning curves. Knows neither.

A process, so that one training leaves no memory to the next, can be ended at any step, and dies alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.supervisor import SUPERVISED
from finetune import config as configs
from finetune.errors import ConfigError, TrainingError
from finetune.run import Run, read_metrics, write_whole

POLL_SECONDS = 0.5
PROGRAM = (
    "import sys; from app.supervisor import leave_with_parent; from finetune.command import main; "
    "leave_with_parent(); sys.exit(main(sys.argv[1:]))"
)

Watch = Callable[[Mapping[int, float]], bool]
"""Gets the measures so far by step; False ends the training."""


def train(recipe: str, config: Any, measure: str, watch: Watch = lambda measured: True) -> dict[int, float]:
    """Trains a configuration in its run folder, or goes on there, and gives the measure by step.

    What it prints is beside the run folder, in NAME.log. Raises TrainingError with the recipe's own last words, and
    ConfigError for a measure that it does not write.
    """
    folder = Path(config.run)
    folder.parent.mkdir(parents=True, exist_ok=True)
    settings = folder.with_name(f"{folder.name}.yaml")
    write_whole(settings, configs.text(config))
    log = folder.with_name(f"{folder.name}.log")
    command = [sys.executable, "-c", PROGRAM, recipe, "--config", str(settings), "--resume"]
    with log.open("ab") as output:
        began = output.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, env={**os.environ, SUPERVISED: "1"}
        )  # its stdin closes when this process is gone, however that died, and then it ends too
        try:
            while process.poll() is None:
                if not watch(measures(folder, measure)):
                    return measures(folder, measure)
                try:
                    process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        said = log.read_bytes()[began:].decode(errors="replace").strip().splitlines() or ["it said nothing"]
        own = [line.removeprefix("parley: ") for line in said if line.startswith("parley: ")]
        raise TrainingError(f"{folder} ended with status {process.returncode}: {(own or said)[-1]}; {log} has it all")
    measured = of_finished(folder, measure)
    watch(measured)
    return measured


def of_finished(folder: Path, measure: str) -> dict[int, float]:
    """A measure of a run by step. Raises ConfigError where the run has written none of that name."""
    if not (measured := measures(folder, measure)):
        raise ConfigError(f"measure: got {measure!r}, expected one that {folder} writes: {', '.join(_names(folder))}")
    return measured


def measures(folder: Path, measure: str) -> dict[int, float]:
    """A measure of a run by step, so far; `STAGE/NAME` where a run has stages in folders of their own."""
    stage, _, name = measure.rpartition("/")
    return {row["step"]: row[name] for row in read_metrics(Run(folder / stage, seed=0)) if name in row}


def _names(folder: Path) -> list[str]:
    found = set()
    for path in folder.rglob("metrics.jsonl"):
        stage = path.parent.relative_to(folder).as_posix()
        for row in read_metrics(Run(path.parent, seed=0)):
            found |= {name if stage == "." else f"{stage}/{name}" for name in row}
    return sorted(found - {"step", "seconds"})
