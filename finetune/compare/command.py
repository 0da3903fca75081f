"""`parley compare-adaptation --config FILE key=value`: which way to adapt a pack is worth its seconds.

Every arm is trained for as long, with several seeds, in processes of their own, and measured by what its exported
workers do. After an interruption at any moment the same command goes on; arms that are done are not trained again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from app.bench.report import machine
from app.errors import ParleyError
from app.supervisor import SUPERVISED
from finetune import config as configs
from finetune.compare import arms, page, results
from finetune.compare.cell import RESULT, folder_of
from finetune.compare.config import STAGES, WITHOUT, Config
from finetune.errors import RunError, TrainingError
from finetune.run import write_whole

Cell: TypeAlias = tuple[str, str, int]
"""Size, arm, seed."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, 1 for an error of ours, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="parley compare-adaptation",
        description="Trains ways to adapt a pack for equally long, measures the workers that they leave, and says "
        "which one to ship; docs/joint.md.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="YAML: finetune/configs/compare.yaml"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes the configuration: seconds=90")
    args = parser.parse_intermixed_args(arguments)
    try:
        compare(configs.load(Config, args.config, args.overrides))
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("parley: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def compare(config: Config) -> dict[str, Any]:
    """Trains, measures and reports; gives the report. Raises RunError, and TrainingError once all else is done."""
    # 1. The folder belongs to one configuration
    settings = _opened(config)
    # 2. Waves of cells, whole comparisons first; a report after each
    waves = list(waves_of(config))
    left = [cell for wave in waves for cell in wave if not _result(config, cell).exists()]
    print(f"{len(left)} of {sum(map(len, waves))} arms are to be trained and measured", flush=True)
    clock = Clock(len(left), config.at_once)
    report, failed = reported(config), []
    for wave in waves:
        waiting = [cell for cell in wave if cell in left]
        if not waiting:
            continue
        with ThreadPoolExecutor(config.at_once) as pool:
            for cell, fault in zip(waiting, pool.map(lambda one: _done(settings, config, one), waiting), strict=True):
                failed += [fault] if fault else []
                print(f"{' '.join(map(str, cell))}: {fault or 'done'}; {clock.tick()}", flush=True)
        report = reported(config)
    # 3. What it comes to
    print(report["table"])
    print(report["sentence"])
    print(f"{config.run}/comparison.json, {config.run}/comparison.html")
    if failed:
        raise TrainingError(f"{len(failed)} arms are missing: {'; '.join(failed)}")
    return report


class Clock:
    """How long the rest takes, by the mean of what is done."""

    def __init__(self, cells: int, at_once: int) -> None:
        self._left, self._at_once = cells, at_once
        self._done, self._began = 0, time.monotonic()

    def tick(self) -> str:
        """One is done: how many are left, in words."""
        self._done, self._left = self._done + 1, self._left - 1
        each = (time.monotonic() - self._began) / self._done
        return f"{self._left} left, about {self._left * each / 60:.0f} minutes"


def waves_of(config: Config) -> Iterator[list[Cell]]:
    """First things first: at each size what the sentence is made of, seed by seed; then what the steps on the way and
    each edge bring.

    A joint arm begins with the first stage of its seed, so that is in a wave before it.
    """
    once = (next(iter(config.sizes)), config.seeds[0])  # the base is measured once
    for size in config.sizes:
        asked = config.compared_at(size)
        joint = [arms.FIRST] if any(map(arms.is_joint, asked)) else []
        for seed in config.seeds:
            plain = [arm for arm in ("base", "separate", "shared") if arm in asked]
            yield [(size, arm, seed) for arm in [*joint, *plain] if arm != "base" or (size, seed) == once]
            yield [(size, arm, seed) for arm in ("joint",) if arm in asked]
        rest = [arm for arm in asked if arm == "noisy" or arm.startswith(WITHOUT)]
        yield [(size, arm, seed) for seed in config.seeds for arm in rest]


def reported(config: Config) -> dict[str, Any]:
    """The report of what there is so far; writes comparison.json and comparison.html."""
    folder = Path(config.run)
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob(RESULT))]
    cells = [cell for cell in cells if cell]  # first stages have no figures
    begun = [size for size in config.sizes if any(cell["size"] == size and cell["arm"] != "base" for cell in cells)]
    table = [row for size in begun or config.sizes for row in results.rows(cells, size, config.compared)]
    choices = [choice for size in config.sizes if (choice := results.choose(cells, size, config.compared))]
    missing = sorted({": ".join(one) for cell in cells for one in cell["not_measured"]})
    if not config.old_data:
        missing.append("what was forgotten: no old language (old_data)")
    judges = sorted({cell["judge"] or "none" for cell in cells})
    facts = {
        "base": config.base, "trained": f"{config.seconds:g} s of CPU an arm, each in a process of one thread",
        "seeds": ", ".join(map(str, config.seeds)), "kept out": ", ".join([*config.data, *config.dialogues]),
        "judge of the voice": ", ".join(judges), **{name: str(value) for name, value in machine().items()},
    }  # fmt: skip
    report: dict[str, Any] = {
        "sentence": results.sentence(choices), "choices": [asdict(one) for one in choices], "facts": facts,
        "rows": [asdict(row) for row in table], "not_measured": missing,
        "stages": {f"{c['size']} {c['arm']} {c['seed']}": c["stages"] for c in cells if "stages" in c},
        "table": page.markdown(table),
    }  # fmt: skip
    write_whole(folder / "comparison.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    write_whole(folder / "comparison.html", page.page(report["sentence"], facts, table, missing))
    (folder / "comparison.svg").write_bytes(page.picture(table))
    return report


def _opened(config: Config) -> Path:
    """The resolved configuration. Raises RunError for the folder of another comparison; more seeds, arms and sizes may
    be asked for, and what is said of exports, where a gate has refused one."""
    settings = Path(config.run) / "config.yaml"
    if settings.exists():
        before, now = _fixed(configs.load(Config, settings)), _fixed(config)
        before["sizes"] = {**now["sizes"], **before["sizes"]}
        now["sizes"] = {**before["sizes"], **now["sizes"]}
        if differ := configs.changed(before, now):
            raise RunError(f"{config.run} is another comparison: {'; '.join(differ)}; run=FOLDER makes a new one")
    Path(config.run).mkdir(parents=True, exist_ok=True)
    write_whole(settings, configs.text(config))
    return settings


def _fixed(config: Config) -> dict[str, Any]:
    """What must be the same in all of one folder's arms."""
    plain = configs.plain(config) | dict.fromkeys(("run", "seeds", "arms", "at_once"))
    for model in STAGES:
        plain["joint"][model]["export"] = None
    return plain


def _done(settings: Path, config: Config, cell: Cell) -> str:
    """Runs a cell as a process of one thread; its last words where it fails, else nothing."""
    folder = folder_of(config, *cell)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "finetune.compare.cell", str(settings), *map(str, cell)]
    one_thread = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", SUPERVISED: "1"}
    with (folder / "log").open("ab") as log:
        began = log.tell()
        # Its stdin closes when this process is gone, however that died, and then it ends too.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **one_thread}
        )
        try:
            process.wait()
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        said = (folder / "log").read_bytes()[began:].decode(errors="replace").strip().splitlines() or ["nothing"]
        own = [line.removeprefix("parley: ") for line in said if line.startswith("parley: ")]
        return f"{folder} ended with status {process.returncode}: {(own or said)[-1]}; {folder}/log has all"
    return ""


def _result(config: Config, cell: Cell) -> Path:
    return folder_of(config, *cell) / RESULT
