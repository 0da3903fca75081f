"""`python -m finetune.demos.digits STEP [FOLD]`: spoken digits of people, each of six speakers left out in turn.

The recordings are share-alike, so nothing that learnt from them belongs into a pack that ships.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.data.manifest import read_utterances
from finetune.demos.steps import (
    ALONE,
    PACKS,
    ROOT,
    STARTER,
    before_and_after,
    build,
    build_alone,
    corpora,
    evaluate,
    finetune,
    note,
    parley,
    table,
)
from finetune.measure import bootstrap_interval

FOLDER = ROOT / "digits"
FOLDS = 6
TARGET = 25.0
"""Per cent of the words, of the speaker left out."""
TRAINING = (f"base={STARTER}", "rows=16", "training.steps=240", "training.learning_rate=6e-4",
    "training.warm_up_steps=20", "training.evaluate_every=80", "training.save_every=40", "silence_share=0.05",
    "augment.share=0.25", "dev_clips=60")  # fmt: skip


def main() -> None:
    """One step, of one fold or of all."""
    parser = argparse.ArgumentParser(prog="python -m finetune.demos.digits")
    parser.add_argument("step", choices=["data", "train", "evaluate"])
    parser.add_argument("fold", type=int, nargs="*", default=list(range(1, FOLDS + 1)), metavar="FOLD")
    args = parser.parse_args()
    {"data": lambda _: prepare(), "train": train, "evaluate": measure}[args.step](args.fold)


def prepare() -> None:
    """Imports the recordings, and splits them into a fold for each speaker left out."""
    if not manifest(FOLDS).exists():
        source, out = str(corpora() / "speech"), str(FOLDER / "data")
        consent = "published by its speakers, CC BY-SA 4.0"
        parley("data", "import", "shared", source, "--subset", "digits_en", "--out", out, "--consent", consent)
        parley("data", "split", f"{out}/manifest.jsonl", "--apart", "speakers")
    for fold in range(1, FOLDS + 1):
        parley("data", "audit", str(manifest(fold)), "--apart", "speakers")


def train(folds: Sequence[int]) -> None:
    """A recognizer for each fold."""
    for fold in folds:
        finetune("recognizer", "recognizer_tiny", run(fold), f"data=[{manifest(fold)}]", *TRAINING)


def measure(folds: Sequence[int]) -> None:
    """The starter before and after, on the speaker whom neither has heard; then the table of all folds."""
    known: dict[str, Any] = note("digits").get("folds", {})
    for fold in folds:
        build_alone()
        build(f"digits-{fold}@1", str(PACKS / ALONE), recognizer=run(fold))
        report = evaluate(f"digits-{fold}@1", FOLDER / f"evaluate-{fold}", [manifest(fold)])
        known[speaker(fold)] = before_and_after(report, "wer_en", "wer_en_change")
        note("digits", folds=known, target=TARGET)
    print(shown(known))


def shown(folds: dict[str, Any]) -> str:
    """A row for each speaker left out, and their mean with an interval over speakers."""
    rows = [(name, one["n"], one["before"], one["after"]) for name, one in sorted(folds.items())]
    counts = [row[1] for row in rows]
    mean = [sum(row[i] * row[1] for row in rows) / sum(counts) for i in (2, 3)]
    low, high = bootstrap_interval([row[3] * row[1] / 100 for row in rows], counts)
    whole = f"{mean[1]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    head = ("speaker left out", "words", "WER before, %", "WER after, %")
    return table(head, [*rows, ("all", sum(counts), f"{mean[0]:.1f}", whole)])


def manifest(fold: int) -> Path:
    """Of a fold, as `parley data split` names it."""
    return FOLDER / f"data/manifest.split.fold-{fold}.jsonl"


def run(fold: int) -> Path:
    """The run folder of a fold."""
    return FOLDER / f"runs/fold-{fold}"


def speaker(fold: int) -> str:
    """Who is left out."""
    (name,) = {row.speaker for row in read_utterances(manifest(fold)) if row.split == "test"}
    return name


if __name__ == "__main__":
    main()
