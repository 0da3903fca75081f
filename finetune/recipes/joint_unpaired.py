"""Recordings without a text in a joint run: which may be learnt from, and batches of them. Knows no loss."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.data.audit import leaks
from finetune.data.errors import DataError, LeakageError
from finetune.data.manifest import audio_path, fingerprint, read_utterances
from finetune.data.measured import measured
from finetune.data.rows import Utterance
from finetune.data.texts import text_key
from finetune.recipes import recognizer_config
from finetune.recipes.joint_config import Config
from finetune.recipes.recognizer_batches import Batches
from finetune.recipes.recognizer_clips import Features
from finetune.recipes.recognizer_rows import Encoder


@dataclass(frozen=True)
class Recordings:
    """What there is to be heard."""

    rows: Mapping[str, list[Utterance]]
    """By manifest; their `audio` is a path."""
    fingerprints: Mapping[str, str]
    """Of each manifest."""
    held_out: frozenset[str] = frozenset()
    """Texts by `text_key` that no pseudo-label may have: those of dev and test where splits share speakers."""


class Unpaired:
    """Batches by number, of recordings and of texts for the voice, both from pseudo-labels."""

    def __init__(
        self,
        config: recognizer_config.Config,
        vocabulary: Encoder,
        mels: int,
        found: Recordings,
        learnt: Mapping[str, list[Utterance]],
        rows: int,
    ) -> None:
        """`learnt`: by manifest, with what was heard as text; `rows` of a batch; the rest is the recognizer's."""
        self.learnt, self.fingerprints = learnt, found.fingerprints
        every = [row for own in learnt.values() for row in own]
        own = dataclasses.replace(config, rows=rows, rehearsal=recognizer_config.Rehearsal(share=0.0))
        self._batches = Batches(own, vocabulary, Features(own, mels), every, ())
        self._texts = sorted({row.text for row in every})
        self._rows, self._seed = rows, config.training.seed

    def batch(self, number: int) -> dict[str, Any]:
        """`heard`: a batch as the recognizer's own, made harder as those are; `texts` for the voice."""
        chance = random.Random(f"unpaired {self._seed} {number}")
        texts = chance.sample(self._texts, min(self._rows, len(self._texts)))
        return {"heard": self._batches.batch(number), "texts": texts}


def recordings(config: Config) -> Recordings | None:
    """Those of train, or without a split; None where the edge has no weight.

    Raises ManifestError, DataError where there is none, and LeakageError where one of them is in dev or test of the
    recognizer's or the voice's data, or its speaker, unless those splits share speakers anyway.
    """
    if not config.edges.unpaired.weight or not config.joint:
        return None
    rows: dict[str, list[Utterance]] = {}
    sounds: list[str] = []
    for name in config.unpaired:
        own = [row for row in read_utterances(Path(name)) if row.split in ("", "train")]
        if not own:
            raise DataError(f"unpaired: got no recording of split train, or without one, in {name}, expected some")
        own, heard = _measured(name, [dataclasses.replace(row, split="train") for row in own])
        rows[name] = own
        sounds += heard
    every = [row for own in rows.values() for row in own]
    texts: set[str] = set()
    for part in (config.recognizer, config.voice):
        held = [row for name in part.data for row in read_utterances(Path(name))]
        shared = bool(leaks(held, "speakers"))
        kept: list[Utterance] = []
        other: list[str] = []
        for name in part.data:
            own, heard = _measured(name, [row for row in read_utterances(Path(name)) if row.split in ("dev", "test")])
            kept += [dataclasses.replace(row, split="dev") for row in own]
            other += heard
        if faults := leaks([*every, *kept], "recordings" if shared else "speakers", [*sounds, *other]):
            raise LeakageError("unpaired: dev or test would be learnt from:\n  " + "\n  ".join(faults))
        if shared:
            texts |= {text_key(row.text) for row in kept}
    return Recordings(rows, {name: fingerprint(Path(name)) for name in rows}, frozenset(texts))


def _measured(name: str, rows: Sequence[Utterance]) -> tuple[list[Utterance], list[str]]:
    """Rows of a manifest with their audio as a path, and hashes of their samples."""
    paths = [audio_path(Path(name), row) for row in rows]
    sounds = [one.sound for one in measured(paths, rows, Path(name).parent)]
    return [dataclasses.replace(row, audio=str(path)) for row, path in zip(rows, paths, strict=True)], sounds
