"""What the demonstrations share: the service's own command line as steps, and their table of results."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app import REPOSITORY
from app.pack_build import toml
from finetune.errors import RunError
from finetune.run import write_whole

ROOT = Path("runs/demos")
"""Data, runs, packs and results of all demonstrations; relative, so that commands can be copied."""
PACKS = ROOT / "packs"
STARTER = "models/packs/en-starter"
ALONE = "en-alone@1"
"""The starter without its second opinion: what is trained is compared with what it was trained from."""


def parley(*arguments: str, passes: Sequence[int] = (0,)) -> None:
    """Says and runs `parley ...`. Raises RunError where it ends otherwise than `passes` says."""
    print(f"$ parley {shlex.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "app", *arguments], check=False, cwd=REPOSITORY)
    if done.returncode not in passes:
        raise RunError(f"parley {shlex.join(arguments)}: exit status {done.returncode}, expected {passes}")


def corpora() -> Path:
    """The folder of open corpora. Raises RunError where PARLEY_DATA does not name it."""
    folder = Path(os.environ.get("PARLEY_DATA") or "PARLEY_DATA is not set")
    if not (folder / "voices/manifest.jsonl").is_file():
        raise RunError(f"{folder}: got no voices/manifest.jsonl there; PARLEY_DATA names the folder of recordings")
    return folder


def finetune(recipe: str, config: str, run: Path, *overrides: str) -> None:
    """Trains, or goes on where an earlier call was interrupted; a finished run is exported again at most."""
    parley("finetune", recipe, "--config", f"finetune/configs/{config}.yaml", f"run={run}", *overrides, "--resume")


def build(reference: str, like: str, **weights: Path) -> None:
    """A pack of run folders in PACKS, where it is not there yet."""
    if not (PACKS / reference / "pack.toml").is_file():
        given = [part for stage, folder in weights.items() for part in (f"--{stage}", str(folder))]
        parley("packs", "--packs", str(PACKS), "build", reference, "--like", like, *given)


def build_alone() -> None:
    """ALONE in PACKS, where it is not there yet."""
    tables = tomllib.loads(Path(STARTER, "pack.toml").read_text(encoding="utf-8"))
    tables["recognizer"] = {key: value for key, value in tables["recognizer"].items() if "second_opinion" not in key}
    tables["turn"].pop("endings", None)  # a file of the starter's
    settings = ROOT / "en-alone.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(toml(tables), encoding="utf-8")
    build(ALONE, str(settings), recognizer=Path(STARTER), language=Path(STARTER), voice=Path(STARTER))


def evaluate(
    reference: str,
    out: Path,
    data: Sequence[Path],
    dialogues: Sequence[Path] = (),
    old: Sequence[Path] = (),
    judge: Path | None = None,
) -> dict[str, Any]:
    """The report of a pack of PACKS against ALONE; a missed gate is in the report, and no error here.

    `judge`: the run folder of who judges the voice, where it is there.
    """
    build_alone()
    more = {"--dialogues": dialogues, "--old-data": old}
    given = [part for option, paths in more.items() if paths for part in (option, *map(str, paths))]
    given += ["--judge", str(judge)] if judge and judge.exists() else []
    places = ("--against", str(PACKS / ALONE), "--packs", str(PACKS), "--out", str(out))
    parley("evaluate", reference, "--data", *map(str, data), *given, *places, passes=(0, 1))
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def note(name: str, **figures: Any) -> dict[str, Any]:
    """Adds figures to ROOT/NAME/results.json, and returns all of them."""
    path = ROOT / name / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known |= figures
    write_whole(path, json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    return known


def figure(report: Mapping[str, Any], part: str, metric: str) -> Mapping[str, Any]:
    """A row of an evaluation's figures. Raises RunError."""
    for row in report["figures"]:
        if (row["part"], row["metric"]) == (part, metric):
            found: Mapping[str, Any] = row
            return found
    raise RunError(f"the report of {report['pack']} has no {metric} of the {part}, expected one")


def before_and_after(report: Mapping[str, Any], metric: str, change: str) -> dict[str, Any]:
    """A share of the recognizer's errors in per cent: the starter's, the pack's with its interval, and of how many."""
    after, less = figure(report, "recognizer", metric), figure(report, "recognizer", change)
    return {
        "before": round(100 * (after["value"] - less["value"]), 1), "after": round(100 * after["value"], 1),
        "interval": [round(100 * end, 1) for end in after["interval"]], "n": after["n"], "n_unit": after["n_unit"],
    }  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
