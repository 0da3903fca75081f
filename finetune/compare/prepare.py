"""`python -m finetune.compare.prepare`: what the comparison on a small language begins with, by the ordinary commands.

Clips, dialogues and models that know nothing; a base that has learnt the old language; a judge that has heard neither
its speakers nor the arms'. After an interruption the same command goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app import REPOSITORY
from finetune.compare import first_hearing, new_models, small_language
from finetune.compare.small_language import DATA, SEED
from finetune.data.manifest import audio_path, read_dialogues, read_utterances
from finetune.data.rows import Utterance
from finetune.errors import RunError
from finetune.exit_status import SAME, exit_status

FOLDER: Final = Path("runs/compare")
LESSONS: Final = 400
"""Steps of the recognizer's first lesson."""
BASE: Final = "small@base"
CONFIG: Final = "finetune/configs/compare_base.yaml"
SETTINGS: Final = "finetune/configs/compare.toml"
JUDGE: Final = (
    "width=96", "layers=6", "rows=16", "dev_clips=40", "training.steps=900", "training.learning_rate=2e-3",
    "training.warm_up_steps=50", "training.evaluate_every=150", "training.save_every=150", "training.seed=77",
)  # fmt: skip


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m finetune.compare.prepare", description=__doc__)
    parser.parse_args()
    return exit_status(prepare, again=SAME)


def prepare() -> int:
    """All steps, each where it is not done yet. Raises RunError."""
    # 1. Recordings and dialogues
    print("1 of 4: recordings and dialogues", flush=True)
    small_language.write(DATA, SEED)
    # 2. Models that know nothing, in the letters of the old language; the recognizer's first lesson
    print("2 of 4: models that know nothing, and a first lesson", flush=True)
    known = list(read_dialogues(DATA / "old/dialogues.jsonl"))
    texts = [turn.text for row in known if row.split == "train" for turn in row.turns]
    new, partial = FOLDER / "new", FOLDER / "new.partial"
    if not new.exists():
        shutil.rmtree(partial, ignore_errors=True)
        new_models.write_language(partial / "language", texts, SEED)
        new_models.write_recognizer(partial / "recognizer", texts, SEED)
        first_hearing.teach(partial / "recognizer", list(clips("old-words", "old")), SEED, LESSONS)
        partial.rename(new)
    # 3. The base: each model by itself on the old language, and a pack of them
    print("3 of 4: the base, on the old language", flush=True)
    run = FOLDER / "base"
    parley("finetune", "joint", "--config", CONFIG, "--resume")
    packs = FOLDER / "packs"
    if not (packs / BASE / "pack.toml").exists():
        weights = [part for stage in ("recognizer", "language", "voice") for part in (f"--{stage}", str(run / stage))]
        parley("packs", "--packs", str(packs), "build", BASE, "--like", SETTINGS, *weights)
    # 4. The judge
    print("4 of 4: the judge of the voices", flush=True)
    data = f"data=[{DATA}/judge/manifest.jsonl]"
    parley("finetune", "judge", "--config", "finetune/configs/judge_tiny.yaml", f"run={FOLDER}/judge", data, *JUDGE,
        "--resume")  # fmt: skip
    return 0


def clips(*names: str) -> Iterator[Utterance]:
    """Of train; the audio of their rows is a path."""
    for name in names:
        manifest = DATA / name / "manifest.jsonl"
        for row in read_utterances(manifest):
            if row.split == "train":
                yield dataclasses.replace(row, audio=str(audio_path(manifest, row)))


def parley(*arguments: str) -> None:
    """Says and runs `parley ...`. Raises RunError where it fails."""
    print(f"$ parley {shlex.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "app", *arguments], check=False, cwd=REPOSITORY)
    if done.returncode:
        raise RunError(f"parley {shlex.join(arguments)}: exit status {done.returncode}, expected 0")


if __name__ == "__main__":
    sys.exit(main())
