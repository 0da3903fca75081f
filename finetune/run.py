"""A run's folder: configuration, facts, measurements, checkpoints. Knows no model and no recipe.

RUN/config.yaml        the resolved configuration
RUN/facts.json         recipe, data fingerprints, seed, versions of libraries and machine
RUN/metrics.jsonl      one line a measurement
RUN/checkpoint.pt      everything that the next step depends on
RUN/best/              weights of the best steps on dev
RUN/curves.svg         measurements as a picture
RUN/export/            what a pack takes
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune import config as configs
from finetune.errors import RunError

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "ctranslate2", "tokenizers", "numpy", "coqui-tts")


@dataclass(frozen=True)
class Run:
    """An open run folder."""

    folder: Path
    seed: int
    main: bool = True
    """False in the other processes of a run on several devices: they write nothing here."""

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint, where there is one."""
        return self.folder / "checkpoint.pt"

    @property
    def metrics(self) -> Path:
        """Measurements, one JSON object a line, by step."""
        return self.folder / "metrics.jsonl"

    @property
    def export(self) -> Path:
        """What a pack takes."""
        return self.folder / "export"

    def best(self, step: int) -> Path:
        """Where the weights after a step are kept, if they are among the best."""
        return self.folder / "best" / f"step-{step:06d}.pt"

    def facts(self) -> dict[str, Any]:
        """What has been written down about the run."""
        facts: dict[str, Any] = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        return facts

    def note(self, **facts: Any) -> None:
        """Adds facts, or replaces those of the same names."""
        if self.main:
            write_whole(self.folder / "facts.json", _json({**self.facts(), **facts}))

    def expect_data(self, data: Mapping[str, str]) -> None:
        """Raises RunError where one of `data`, fingerprints by name, is not what the run has learnt from."""
        known = self.facts()["data"]
        if differ := configs.changed({name: known.get(name) for name in data}, data):
            raise RunError(f"{self.folder} is a run on other data: {'; '.join(differ)}")


def open_run(
    folder: Path,
    recipe: str,
    config: Any,
    *,
    data: Mapping[str, str],
    seed: int,
    resume: bool = False,
    may_differ: Sequence[str] = ("run", "export"),
) -> Run:
    """Makes a run's folder, or continues in it. `data` are fingerprints by name.

    Raises RunError for a folder that has been used and is not resumed, and for one of another recipe, configuration
    or data: what is resumed would not be the run that its facts describe. Only sections that training does not read
    `may_differ`; a finished run is exported anew that way.
    """
    main = os.environ.get("RANK", "0") == "0"  # set where `accelerate launch` has started several processes
    run = Run(folder, seed, main)
    if not main:
        return run  # the first process has looked, or does so now
    present = folder / "config.yaml"
    if present.exists():
        if not resume:
            raise RunError(f"{folder} has been used; --resume continues that run, run=FOLDER makes another one")
        facts = run.facts()
        if facts["recipe"] != recipe:
            raise RunError(f"{folder} is a run of recipe {facts['recipe']}, expected {recipe}")
        without = dict.fromkeys(may_differ)
        if differ := configs.changed(facts["configuration"] | without, configs.plain(config) | without):
            raise RunError(f"{folder} is a run of another configuration: {'; '.join(differ)}")
        if differ := configs.changed(facts["data"], data):
            raise RunError(f"{folder} is a run on other data: {'; '.join(differ)}")
        run.note(configuration=configs.plain(config))
        write_whole(present, configs.text(config))
        return run
    folder.mkdir(parents=True, exist_ok=True)
    made_of = json.dumps([recipe, configs.plain(config), data], sort_keys=True)
    facts = {
        "recipe": recipe,
        "fingerprint": hashlib.sha256(made_of.encode()).hexdigest(),
        "configuration": configs.plain(config),
        "data": dict(data),
        "seed": seed,
        "libraries": {"python": platform.python_version(), **_versions()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    write_whole(folder / "facts.json", _json(facts))
    write_whole(present, configs.text(config))  # last: a folder that has it is complete
    return run


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, in hex; of a manifest with audio `data.manifest.fingerprint` says more."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, content: str) -> None:
    """Writes a text so that a kill leaves the old one or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def read_metrics(run: Run, until: int | None = None) -> list[dict[str, Any]]:
    """Measurements up to a step; a line that a kill has cut is left out, and so are later ones."""
    if not run.metrics.exists():
        return []
    rows = []
    for line in run.metrics.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if until is None or row["step"] <= until:
            rows.append(row)
    return rows


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
