"""`python -m finetune.demos.killed RECIPE --config FILE KEY=VALUE...`: trains a run unbroken and one that is killed.

The second is ended by SIGKILL several times, whatever it is doing, and taken up by `--resume`. Both must have measured
the same and exported the same bytes. Knows no recipe: it runs the command line and reads run folders.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app import REPOSITORY
from finetune.demos.steps import ROOT
from finetune.errors import RunError
from finetune.exit_status import SAME, exit_status
from finetune.run import fingerprint

LOOK_SECONDS = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 where both runs are the same, else 1."""
    parser = argparse.ArgumentParser(prog="python -m finetune.demos.killed", description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--config", required=True, metavar="FILE")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--kills", type=int, default=3, metavar="N", help="how often [3]")
    parser.add_argument("--out", type=Path, default=ROOT / "killed", metavar="FOLDER", help="of both runs")
    args = parser.parse_intermixed_args(arguments)
    command = [sys.executable, "-m", "finetune", args.recipe, "--config", args.config, *args.overrides]
    unbroken, killed = (args.out.absolute() / args.recipe / name for name in ("unbroken", "killed"))
    return exit_status(lambda: compare(command, unbroken, killed, args.kills), again=SAME)


def compare(command: Sequence[str], unbroken: Path, killed: Path, kills: int) -> int:
    """Trains both, says what differs; 1 where anything does. Raises RunError."""
    finish(command, unbroken)
    lines = sum(len(rows) for rows in measured(unbroken).values())
    for i in range(kills):
        kill(command, killed, (i + 1) * lines // (kills + 1))
    finish(command, killed)
    differ = differences(unbroken, killed)
    print(
        f"killed {kills} times: {lines} measurements, {len(exported(killed))} files exported; "
        + ("; ".join(differ) or "the same numbers and the same bytes as unbroken")
    )
    return bool(differ)


def finish(command: Sequence[str], run: Path) -> None:
    """Trains to the end. Raises RunError."""
    done = subprocess.run([*command, f"run={run}", "--resume"], check=False, cwd=REPOSITORY)
    if done.returncode:
        raise RunError(f"{run}: exit status {done.returncode}, expected 0")


def kill(command: Sequence[str], run: Path, lines: int) -> None:
    """Trains until so much is measured, then ends the process. Raises RunError where it has ended by itself."""
    process = subprocess.Popen([*command, f"run={run}", "--resume"], cwd=REPOSITORY, start_new_session=True)
    while sum(len(rows) for rows in measured(run).values()) < lines:
        if process.poll() is not None:
            raise RunError(f"{run}: exit status {process.returncode} before it was killed; more steps may help")
        time.sleep(LOOK_SECONDS)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    print(f"killed after {lines} measurements", flush=True)


def measured(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Whole lines of all measurements of a run, without their times."""
    found = {}
    for path in sorted(run.rglob("metrics.jsonl")):
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        rows = [json.loads(line) for line in lines]
        found[str(path.relative_to(run))] = [{**row, "seconds": None} for row in rows]
    return found


def exported(run: Path) -> dict[str, str]:
    """Hashes of what a pack takes, by name."""
    paths = [path for folder in run.rglob("export") for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(run)): fingerprint(path) for path in sorted(paths)}


def differences(run: Path, other: Path) -> list[str]:
    """Names of what is not the same."""
    found = []
    for mine, others in ((measured(run), measured(other)), (exported(run), exported(other))):
        names = sorted(mine.keys() | others.keys())
        found += [f"{name} differs" for name in names if mine.get(name) != others.get(name)]
    return found


if __name__ == "__main__":
    sys.exit(main())
