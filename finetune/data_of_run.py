"""What a run learns from: rows by manifest, audited before training, noted in the ledgers of their datasets.

Every recipe reads its manifests here, so that none can train on contaminated splits or on a speaker whom no ledger
connects with the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from app.cards import read_card
from app.packs import MANIFEST, read_pack
from finetune.data import manifest
from finetune.data.audit import audit, leaks, requests_of
from finetune.data.errors import DataError, LeakageError
from finetune.data.ledger import NAME as LEDGER
from finetune.data.ledger import Ledger
from finetune.data.measured import measured
from finetune.data.rows import Dialogue, Utterance, speakers_of
from finetune.data.split import FEW_SPEAKERS
from finetune.data.text_faults import said
from finetune.loop import Training
from finetune.run import Run, fingerprint

Row = TypeVar("Row", Utterance, Dialogue)


@dataclass(frozen=True)
class RunData(Generic[Row]):
    """Rows of train and dev; test is audited with them, and left alone."""

    train: list[Row]
    """What is learnt, at most `training.data_share` of what there is."""
    dev: list[Row]
    learnt: Mapping[str, list[Row]]
    """The rows of `train` by manifest."""
    fingerprints: Mapping[str, str]
    """Of each manifest; with audio, over its bytes too."""
    apart: str
    """What the splits keep apart: both, speakers or texts; of dialogues, texts."""

    def note(self, run: Run) -> None:
        """Writes into each dataset's ledger that this run has learnt from these rows, and into the run's facts whom it
        has heard and which runs its base was made of; before its first step.
        """
        if not run.main or run.checkpoint.exists():
            return
        facts = run.facts()
        for name, rows in self.learnt.items():
            Ledger(Path(name).parent / LEDGER).add_run(facts["fingerprint"], self.fingerprints[name], rows)
        heard = {speaker for row in self.train for speaker in speakers_of(row)}
        base = facts["configuration"].get("base", "")
        learnt = {name: {"rows": len(rows), "seconds": _seconds(rows)} for name, rows in self.learnt.items()}
        run.note(
            learnt={**facts.get("learnt", {}), **learnt},
            speakers=sorted(heard.union(facts.get("speakers", ()))),
            ancestors=_ancestors(Path(base)) if base else [],
        )


def utterances(manifests: Sequence[str], training: Training) -> RunData[Utterance]:
    """Clips of manifests; the `audio` of their rows is a path from here on, no more relative to the manifest.

    Raises ManifestError, DataError where train or dev is empty or a row has no split, and LeakageError where splits
    share a recording, or speakers as well as texts: one of the two has to be apart for dev to measure anything.
    Texts that are nearly the same are left to `parley data audit`.
    """
    rows = {name: list(manifest.read_utterances(Path(name))) for name in manifests}
    sounds: list[str] = []
    for name, own in rows.items():
        paths = [manifest.audio_path(Path(name), row) for row in own]
        sounds += [found.sound for found in measured(paths, own, Path(name).parent)]
        rows[name] = [dataclasses.replace(row, audio=str(path)) for row, path in zip(own, paths, strict=True)]
    together = [row for own in rows.values() for row in own]
    audit(together, "recordings", sounds)
    shared = {what: leaks(together, what, near=False) for what in ("speakers", "texts")}
    if all(shared.values()):
        raise LeakageError(
            "the splits are contaminated: neither speakers nor texts are apart:\n  "
            + "\n  ".join(line for lines in shared.values() for line in lines)
        )
    apart = next((what for what, lines in shared.items() if lines), "")
    prints = {name: manifest.fingerprint(Path(name)) for name in manifests}
    return _made(rows, prints, {"": "both", "speakers": "texts", "texts": "speakers"}[apart], training)


def dialogues(manifests: Sequence[str], training: Training, dev_share: float = 0.0) -> RunData[Dialogue]:
    """Dialogues of manifests; those without a split get one, `dev_share` of them dev.

    Raises ManifestError, DataError where train or dev is empty, and LeakageError for the same dialogue in two splits.
    """
    rows: dict[str, list[Dialogue]] = {}
    for name in manifests:
        read = manifest.read_dialogues(Path(name))
        rows[name] = [dataclasses.replace(row, split=row.split or _split_of(row, dev_share)) for row in read]
    seen: dict[str, Dialogue] = {}
    shared = []
    for row in (row for own in rows.values() for row in own):
        other = seen.setdefault(said(row.turns), row)
        if other.split != row.split:
            shared.append(f"{other.id} in {other.split}, {row.id} in {row.split}")
    if shared:
        raise LeakageError(
            f"the splits are contaminated: the same dialogue in two splits, {len(shared)} times: "
            f"{'; '.join(shared[:5])}; rows without a split are shared out by what the user says"
        )
    return _made(rows, {name: fingerprint(Path(name)) for name in manifests}, "texts", training)


def subset(rows: Sequence[Row], share: float, seed: int) -> list[Row]:
    """A share of the rows, in their order; what a smaller share has is part of every larger one.

    Of more than FEW_SPEAKERS speakers whole ones are taken, the last one in part, as more data would bring more people;
    of fewer the same share of each. Dialogues count as of one speaker.
    """
    if share >= 1:
        return list(rows)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[row.speaker if isinstance(row, Utterance) else ""].append(i)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    for speaker in order:
        random.Random(f"{seed} {speaker}").shuffle(groups[speaker])
    if len(groups) > FEW_SPEAKERS:
        chosen = [i for speaker in order for i in groups[speaker]][: max(1, round(share * len(rows)))]
    else:
        chosen = [i for own in groups.values() for i in own[: max(1, round(share * len(own)))]]
    return [rows[i] for i in sorted(chosen)]


def _made(rows: Mapping[str, Sequence[Row]], prints: Mapping[str, str], apart: str, training: Training) -> RunData[Row]:
    learnt = {
        name: subset([row for row in own if row.split == "train"], training.data_share, training.seed)
        for name, own in rows.items()
    }
    train = [row for own in learnt.values() for row in own]
    dev = [row for own in rows.values() for row in own if row.split == "dev"]
    for split, found in (("train", train), ("dev", dev)):
        if rows and not found:
            raise DataError(f"{', '.join(rows)}: got no row of split {split}, expected some")
    return RunData(train, dev, learnt, prints, apart)


def _split_of(dialogue: Dialogue, dev_share: float) -> str:
    """By the hash of what the user says in it."""
    place = int(hashlib.sha256(requests_of(dialogue).encode()).hexdigest()[:8], 16) / 16**8
    return "dev" if place < dev_share else "train"


def _seconds(rows: Sequence[Utterance] | Sequence[Dialogue]) -> float:
    return round(sum(row.duration_s for row in rows if isinstance(row, Utterance)), 1)


def _ancestors(base: Path) -> list[str]:
    """Fingerprints of the runs that a base was made of: a pack, or the export of a run."""
    if (base / MANIFEST).is_file():
        made_of = list(read_card(read_pack(base)).get("training", {}).values())
    else:
        found = [folder / "facts.json" for folder in (base, *base.parents[:2])]
        made_of = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.is_file()]
    runs = {run for facts in made_of for run in (facts.get("fingerprint"), *facts.get("ancestors", ()))}
    return sorted(run for run in runs if run)
