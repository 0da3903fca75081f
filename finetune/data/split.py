"""`parley data split`: train, dev and test that share neither speakers nor texts, balanced by duration.

Seeded: the same manifest and seed give the same splits. Where speakers are few, one test speaker says little about the
next; then there is a fold for each speaker left out, and the figure to quote is that of all folds.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.data.audit import audit
from finetune.data.errors import DataError
from finetune.data.manifest import read_utterances, write_manifest
from finetune.data.rows import SPLITS, Utterance
from finetune.data.texts import groups

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}
"""Of the duration."""
FEW_SPEAKERS = 10
"""Up to as many, each is left out in turn: published figures of one held-out speaker swing by tens of points
(arXiv 2208.12888)."""
LONG = 0.01
"""Of the duration: a speaker or text of more would overfill dev or test if it came last."""
MOST_LEFT_OUT = 0.3
"""Of the duration that keeping both apart may cost, before it is refused."""
APART = ("both", "speakers", "texts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley data split`."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("--out", type=Path, help="manifest to write, in the same folder [NAME.split.jsonl]")
    parser.add_argument("--apart", choices=APART, default="both", help="what the splits may not share [both]")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other splits [0]")


def run(args: argparse.Namespace) -> int:
    """Splits; raises DataError."""
    rows = list(read_utterances(args.manifest))
    out = args.out or args.manifest.with_suffix(".split.jsonl")
    if out.resolve().parent != args.manifest.resolve().parent:
        raise DataError(f"--out: got {out}, expected a file in {args.manifest.parent}, where the audio is")
    speakers = {row.speaker for row in rows}
    if len(speakers) == 1 and args.apart != "texts":
        print("one speaker: splits are by text, and measure no generalisation to other speakers")
        args.apart = "texts"
    if args.apart != "texts" and 2 < len(speakers) <= FEW_SPEAKERS:
        print(f"{len(speakers)} speakers are few: each is left out in turn; quote the figure over all folds")
        folds = leave_speakers_out(rows, args.apart, args.seed)
        written = [(out.with_suffix(f".fold-{i}.jsonl"), fold) for i, fold in enumerate(folds, start=1)]
    else:
        written = [(out, split(rows, args.apart, args.seed))]
    for _, fold in written:
        audit(fold, args.apart)
    for path, fold in written:
        write_manifest(path, fold)
        print(f"{path}: {_told(fold, rows)}")
    apart = "" if args.apart == "both" else f" --apart {args.apart}"
    print(f"next: parley data audit {written[0][0]}{apart}")
    return 0


def split(rows: Sequence[Utterance], apart: str, seed: int) -> list[Utterance]:
    """Rows with their split, without those that would connect two splits.

    Raises DataError where there is too little to keep apart, and what could be done.
    """
    texts = groups([row.text for row in rows])
    speakers = [row.speaker for row in rows]
    if apart == "texts":
        return _labelled(rows, texts, _assign(rows, texts, seed))
    if len(set(speakers)) < len(SPLITS):
        raise DataError(f"{len(set(speakers))} speakers cannot be kept apart in 3 splits; use --apart texts")
    labelled = _labelled(rows, speakers, _assign(rows, speakers, seed))
    return labelled if apart == "speakers" else _without_shared(labelled, texts, rows)


def leave_speakers_out(rows: Sequence[Utterance], apart: str, seed: int) -> list[list[Utterance]]:
    """A fold a speaker: that one is test, another one dev, the rest train; everybody is dev once. Raises DataError."""
    speakers = sorted({row.speaker for row in rows})
    random.Random(seed).shuffle(speakers)
    texts = groups([row.text for row in rows])
    folds = []
    for i, speaker in enumerate(speakers):
        names = dict.fromkeys(speakers, "train") | {speakers[i - 1]: "dev", speaker: "test"}
        labelled = _labelled(rows, [row.speaker for row in rows], names)
        folds.append(_without_shared(labelled, texts, rows) if apart == "both" else labelled)
    return folds


def _assign(rows: Sequence[Utterance], keys: Sequence[object], seed: int) -> dict[object, str]:
    """A split for each key: long ones first, always into the split that lacks most of its share.

    The others come in random order: by length, long sentences would all be in train.
    """
    seconds: defaultdict[object, float] = defaultdict(float)
    for row, key in zip(rows, keys, strict=True):
        seconds[key] += max(row.duration_s, 0.01)
    if len(seconds) < len(SPLITS):
        raise DataError(f"{len(seconds)} different texts cannot be kept apart in 3 splits")
    order = list(seconds)
    random.Random(seed).shuffle(order)
    total = sum(seconds.values())
    order.sort(key=lambda key: -seconds[key] if seconds[key] > LONG * total else 0.0)
    lacking = {name: share * total for name, share in SHARES.items()}
    chosen: dict[object, str] = {}
    for left, key in zip(range(len(order), 0, -1), order, strict=True):
        empty = [name for name in SPLITS if name not in chosen.values()]
        name = empty[0] if len(empty) >= left else max(lacking, key=lambda name: lacking[name])
        chosen[key] = name
        lacking[name] -= seconds[key]
    return chosen


def _labelled(rows: Sequence[Utterance], keys: Sequence[object], names: Mapping[Any, str]) -> list[Utterance]:
    return [dataclasses.replace(row, split=names[key]) for row, key in zip(rows, keys, strict=True)]


def _without_shared(labelled: Sequence[Utterance], texts: Sequence[int], rows: Sequence[Utterance]) -> list[Utterance]:
    """Without rows of train whose text is in dev or test, and rows of dev whose text is in test."""
    tested = {text for row, text in zip(labelled, texts, strict=True) if row.split == "test"}
    chosen = tested | {text for row, text in zip(labelled, texts, strict=True) if row.split == "dev"}
    shut = {"train": chosen, "dev": tested, "test": set[int]()}
    kept = [row for row, text in zip(labelled, texts, strict=True) if text not in shut[row.split]]
    lost = 1 - _seconds(kept) / max(_seconds(rows), 1e-9)
    if lost > MOST_LEFT_OUT or {row.split for row in kept} != set(SPLITS):
        raise DataError(
            f"{len(set(texts))} different texts are shared by the speakers: keeping both apart would leave out "
            f"{lost:.0%} of the recordings. --apart speakers measures new speakers with known texts, --apart texts "
            f"new texts by known speakers"
        )
    return kept


def _seconds(rows: Sequence[Utterance]) -> float:
    return sum(row.duration_s for row in rows)


def _told(fold: Sequence[Utterance], rows: Sequence[Utterance]) -> str:
    parts = []
    for name in SPLITS:
        own = [row for row in fold if row.split == name]
        who = {row.speaker for row in own}
        whom = next(iter(who)) if len(who) == 1 else f"{len(who)} speakers"
        parts.append(f"{name} {len(own)} clips, {_seconds(own) / 60:.1f} min, {whom}")
    lost = len(rows) - len(fold)
    return "; ".join(parts) + (f"; left out {lost} clips whose text is in two splits" if lost else "")
