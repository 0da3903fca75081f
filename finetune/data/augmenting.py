"""`parley data augment`: a dataset of augmented copies of the training rows, for trainers that augment nothing."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from finetune.data import recording
from finetune.data.augment import Augmentation, augment
from finetune.data.errors import DataError
from finetune.data.importers.found import AUDIO_SUFFIXES, Found
from finetune.data.importing import import_speech
from finetune.data.manifest import audio_path, read_utterances
from finetune.data.rows import Utterance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley data augment`."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder of the copies")
    parser.add_argument("--copies", type=int, default=1, help="of each training row [1]")
    parser.add_argument("--noise", type=Path, metavar="FOLDER", help="recordings of noise")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other copies [0]")


def run(args: argparse.Namespace) -> int:
    """Writes the copies; raises DataError. Rows of dev and test are never copied: figures are of real recordings."""
    rows = [row for row in read_utterances(args.manifest) if row.split in ("train", "")]
    if not rows or args.copies < 1:
        raise DataError(f"{args.manifest} has {len(rows)} rows to train on, and {args.copies} copies were asked for")
    settings = Augmentation(noises=noise_files(args.noise))
    made = import_speech(_copies(args.manifest, rows, settings, args.copies, args.seed), args.out, {})
    print(f"{len(made)} copies of {len(rows)} rows: {args.out / 'manifest.jsonl'}")
    return 0


def noise_files(folder: Path | None) -> tuple[Path, ...]:
    """Recordings of a folder, in order of their names. Raises DataError where it has none."""
    if folder is None:
        return ()
    found = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES))
    if not found:
        raise DataError(f"{folder} has no recordings of noise")
    return found


def _copies(manifest: Path, rows: list[Utterance], settings: Augmentation, copies: int, seed: int) -> Iterator[Found]:
    for row in tqdm(rows, desc="augment", unit=" clips", disable=None):
        heard = recording.decode(audio_path(manifest, row).read_bytes(), row.start_s, row.end_s)
        for epoch in range(1, copies + 1):
            waveform = augment(heard.waveform, heard.rate, settings, seed=seed, id=row.id, epoch=epoch)
            name = f"{row.id}-copy{epoch}"
            copy = dataclasses.replace(
                row,
                id=name,
                audio=f"{name}.flac",
                duration_s=0.0,
                start_s=0.0,
                end_s=None,
                source=f"{row.source}, augmented",
            )
            yield Found(copy, recording.encode(waveform, heard.rate))
