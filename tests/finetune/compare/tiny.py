"""A comparison small enough for tests: a handful of clips, a base that has learnt next to nothing, arms of a moment.

As a program: `python -m tests.finetune.compare.tiny CONFIG KILL KEY=VALUE...` compares, and kills itself without
warning once KILL arms are done.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import yaml

from app import REPOSITORY, pack_build
from finetune import config as configs
from finetune.compare import command, new_models, small_language
from finetune.compare.config import Config
from finetune.compare.small_language import Part, Set
from finetune.data.manifest import read_dialogues
from finetune.recipes import joint

CONFIG = REPOSITORY / "finetune/configs/compare.yaml"
BASE = REPOSITORY / "finetune/configs/compare_base.yaml"
SETTINGS = REPOSITORY / "finetune/configs/compare.toml"
SETS = (
    Set("old-words", "old", (Part("train", 2, 3),), "words"),
    Set("old", "old", (Part("train", 2, 5), Part("dev", 1, 3), Part("test", 1, 2))),
    Set("old-reader", "old", (Part("train", 1, 8), Part("dev", 1, 3)), "reader"),
    Set("small", "new", (Part("train", 2, 5), Part("dev", 1, 3))),
    Set("reader", "new", (Part("train", 1, 8), Part("dev", 1, 3)), "reader"),
    Set("test", "new", (Part("test", 3, 2),)),
)
TINY_VOICE = {"width": 16, "encoder": 1, "tone": 1, "decoder": 1, "vocoder": 1}


def write_base(folder: Path) -> Path:
    """Data in FOLDER/data, and the pack that arms begin with."""
    small_language.write(folder / "data", 1, SETS)
    texts = [turn.text for row in read_dialogues(folder / "data/old/dialogues.jsonl") for turn in row.turns]
    new_models.write_recognizer(folder / "new/recognizer", texts, 1)
    new_models.write_language(folder / "new/language", texts, 1)
    values = moved(yaml.safe_load(BASE.read_text(encoding="utf-8")), folder) | {"run": str(folder / "base")}
    for section in (values["recognizer"], values["language"], values["voice"]):
        section["training"] |= {"budget_seconds": None, "steps": 2}
    values["language"]["training"]["steps"] = 60  # enough to write words: bytes that are no text have no parity
    values["voice"] |= {"size": TINY_VOICE, "vocoder": values["voice"]["training"]}
    joint.run(configs.fill(joint.Config, values, "base"))
    weights = {stage: folder / "base" / stage for stage in ("recognizer", "language", "voice")}
    return pack_build.build(folder / "packs", "small@base", settings=SETTINGS, weights=weights).folder


def write_config(folder: Path, **changes: Any) -> Path:
    """A configuration of two seeds and one size, for `write_base` in the same folder."""
    values = moved(yaml.safe_load(CONFIG.read_text(encoding="utf-8")), folder)
    values |= {"run": str(folder / "grid"), "settings": str(SETTINGS), "judge": "", "seconds": 0.1, "seeds": [1]}
    values["joint"]["noisy"] = None  # a recognizer that hears nothing has no transcripts to learn from
    small = [f"{folder}/data/small/{name}.jsonl" for name in ("manifest", "dialogues")]
    reader = [f"{folder}/data/reader/manifest.jsonl"]
    values["sizes"] = {"small": {"recognizer": small[:1], "language": small[1:], "voice": reader}}
    path = folder / "compare.yaml"
    path.write_text(yaml.safe_dump(values | changes), encoding="utf-8")
    return path


def moved(values: Any, folder: Path) -> Any:
    """Values with all paths in runs/compare in another folder."""
    if isinstance(values, dict):
        return {name: moved(value, folder) for name, value in values.items()}
    if isinstance(values, list):
        return [moved(value, folder) for value in values]
    return values.replace("runs/compare", str(folder)) if isinstance(values, str) else values


def main() -> None:
    """Compares in a process that dies without warning."""
    path, kill, *overrides = sys.argv[1:]
    done = 0
    run_cell = command._done

    def deadly(settings: Path, config: Config, cell: command.Cell) -> str:
        nonlocal done
        if done == int(kill):
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        return run_cell(settings, config, cell)

    command._done = deadly
    command.compare(configs.load(Config, Path(path), overrides))


if __name__ == "__main__":
    main()
