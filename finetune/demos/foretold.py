"""`python -m finetune.demos.foretold --size real`: is a joint run's dry run right about time and memory?

Models of random weights in a size, the starter's voice, and a made-up language; the dry run, then the run, stage by
stage. `real` is whisper-small and a chat model of half a billion weights, for a GPU. KEY=VALUE changes the joint
recipe's configuration: `recognizer.training.precision=bf16`. After an interruption the same command foretells again,
and goes on.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app import REPOSITORY
from finetune.compare import new_models, small_language
from finetune.compare.new_models import Shape
from finetune.compare.small_language import DATA
from finetune.data.manifest import read_dialogues, write_manifest
from finetune.demos.steps import ROOT, table
from finetune.errors import RunError
from finetune.exit_status import SAME, exit_status
from finetune.run import Run, read_metrics

CONFIG: Final = "finetune/configs/joint.yaml"
SIZES: Final[Mapping[str, tuple[Shape, Shape]]] = {
    "tiny": (new_models.RECOGNIZER, new_models.LANGUAGE),
    "medium": (  # whisper-tiny, and a chat model of 40 million weights
        Shape(384, 4, 6, 1536, pieces=50257),
        Shape(512, 8, 8, 1408, pieces=32000, key_heads=2, positions=2048),
    ),
    "real": (  # whisper-small; Qwen2.5-0.5B's numbers
        Shape(768, 12, 12, 3072, pieces=50257),
        Shape(896, 24, 14, 4864, pieces=151900, key_heads=2, positions=2048),
    ),
}
FIRST: Final = {"recognizer": "recognizer", "language": "language", "vocoder": "voice/vocoder", "voice": "voice"}
STAGES: Final = (*FIRST.items(), ("noisy", "noisy"), ("joint", "joint"), ("finish", "finish"))
"""In the order of the dry run's estimates; where each lies in the run's folder."""
STEPS: Final = 8
DIALOGUES: Final = "dialogues.jsonl"
ASKED: Final = 16
"""Dialogues of each split: an untrained recognizer hears as many tokens in a clip as it may."""
NEAR: Final = 0.15
ESTIMATE: Final = re.compile(r"^steps +[\d,]+, ([\d.]+) s each.*?^memory +([\d.]+) GB", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Figure:
    """Of a stage."""

    seconds: float
    """A step."""
    gigabytes: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 where every figure is as near as it should be, else 1."""
    parser = argparse.ArgumentParser(prog="python -m finetune.demos.foretold", description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="medium", help="of the models [medium]")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_intermixed_args(arguments)
    return exit_status(lambda: compare(args.size, args.overrides), again=SAME)


def compare(size: str, overrides: Sequence[str]) -> int:
    """Foretells, trains, and says what differs. Raises RunError."""
    # 1. Data and models
    small_language.write(DATA, small_language.SEED)
    folder = ROOT / "foretold" / size
    _write_models(folder / "bases", size)
    # 2. What the dry run says
    given = [*settings(folder), *overrides]
    told = estimates(_joint(*given, "--dry-run"))
    # 3. What it takes
    _joint(*given, "--resume")
    taken = {stage: measured(folder / "run" / name) for stage, name in STAGES}
    # 4. How near that is
    rows, far = [], 0
    for stage, _ in STAGES:
        one, other = told[stage], taken[stage]
        off = (one.seconds / other.seconds - 1, one.gigabytes / other.gigabytes - 1)
        far += sum(abs(error) > NEAR for error in off)
        rows.append(
            (stage, f"{one.seconds:.3f}", f"{other.seconds:.3f}", f"{100 * off[0]:+.0f}",
             f"{one.gigabytes:.2f}", f"{other.gigabytes:.2f}", f"{100 * off[1]:+.0f}")
        )  # fmt: skip
    head = ("stage", "s a step, foretold", "taken", "%", "GB, foretold", "taken", "%")
    print(table(head, rows))
    print(f"{far} of {2 * len(rows)} figures are more than {100 * NEAR:.0f} % off")
    return int(far > 0)


def settings(folder: Path) -> list[str]:
    """The joint recipe's configuration: each stage a few steps that change nothing, every edge in each."""
    trainings = (
        "recognizer.training", "language.training", "voice.vocoder", "voice.training", "noisy", "joint", "finish"
    )  # fmt: skip
    few: dict[str, object] = dict.fromkeys(("steps", "evaluate_every", "save_every"), STEPS)
    few |= {"log_every": 1, "warm_up_steps": 0, "patience": 0, "learning_rate": "1e-9"}
    letters = "".join(sorted({*small_language.CONSONANTS, *"aeiou"}))
    said = "[0=a, 1=e, 2=i, 3=o, 4=u, 5=ba, 6=de, 7=gi, 8=ko, 9=lu]"
    return [
        f"run={folder}/run", f"recognizer.base={folder}/bases/recognizer", f"language.base={folder}/bases/language",
        f"recognizer.data=[{DATA}/small/manifest.jsonl]", f"language.data=[{folder}/bases/{DIALOGUES}]",
        f"voice.data=[{DATA}/reader/manifest.jsonl]", f"voice.letters={letters}", f"voice.said={said}", "rung=full",
        "recognizer.dev_clips=4", "recognizer.export={parity_clips: 1, tie_nats: .inf}",
        "language.export={parity_prompts: 1, parity_tokens: 4, tie_nats: .inf}", "voice.export={parity_texts: 1}",
        *(f"edges.{edge}.{key}=0" for edge in ("transcript", "chain", "reply_to_voice")
          for key in ("from_step", "ramp_steps")),
        *(f"{training}.{key}={value}" for training in trainings for key, value in few.items()),
    ]  # fmt: skip


def estimates(text: str) -> dict[str, Figure]:
    """What a dry run printed, by stage. Raises RunError where that is not one of each."""
    found = [Figure(float(seconds), float(gigabytes)) for seconds, gigabytes in ESTIMATE.findall(text)]
    if len(found) != len(STAGES):
        raise RunError(f"the dry run tells of {len(found)} trainings, expected {len(STAGES)}:\n{text}")
    return {stage: one for (stage, _), one in zip(STAGES, found, strict=True)}


def measured(run: Path) -> Figure:
    """A run folder's: the first step, and what lies between steps and dev, not counted. Raises RunError."""
    opened = Run(run, seed=0)
    ends = [row["seconds"] for row in read_metrics(opened) if "learning_rate" in row]
    if len(ends) != STEPS:
        raise RunError(f"{opened.metrics} has {len(ends)} steps, expected {STEPS}")
    return Figure((ends[-1] - ends[0]) / (STEPS - 1), opened.facts()["memory"] / 1e9)


def _write_models(folder: Path, size: str) -> None:
    if folder.exists():
        return
    partial = folder.with_name("bases.partial")
    shutil.rmtree(partial, ignore_errors=True)
    recognizer, language = SIZES[size]
    texts = list(sentences(max(recognizer.pieces, language.pieces)))
    new_models.write_recognizer(partial / "recognizer", texts, 1, recognizer)
    new_models.write_language(partial / "language", texts, 1, language)
    rows = list(read_dialogues(DATA / "small" / DIALOGUES))
    few = [row for split in ("train", "dev") for row in [row for row in rows if row.split == split][:ASKED]]
    write_manifest(partial / DIALOGUES, few)
    partial.rename(folder)


def sentences(pieces: int) -> Iterator[str]:
    """Enough made-up words for a vocabulary of so many pieces."""
    chance = random.Random(1)
    for _ in range(pieces // 4):
        yield " ".join("".join(chance.choices("abdefgiklmnoprstu", k=chance.randint(2, 9))) for _ in range(12))


def _joint(*arguments: str) -> str:
    """Runs `parley finetune joint`, shows and gives what it prints. Raises RunError where it fails."""
    command = [sys.executable, "-m", "finetune", "joint", "--config", CONFIG, *arguments]
    said = []
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    if process.returncode:
        raise RunError(f"parley finetune joint: exit status {process.returncode}, expected 0")
    return "".join(said)


if __name__ == "__main__":
    sys.exit(main())
