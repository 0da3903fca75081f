"""What the recognizer hears in recordings without a text, kept in a joint run: pseudo-labels. Knows no loss.

A long recording is cut as the service cuts it; a piece of it is a row of its own.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from app.workers.whisper_windows import Asked, Window, Windows
from finetune import processes
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.data.texts import text_key
from finetune.evaluate.normal import base_language
from finetune.joint.pseudo_labels import labels
from finetune.recipes import recognizer
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_parts import Recognizer
from finetune.recipes.joint_unpaired import Recordings, Unpaired
from finetune.recipes.recognizer_clips import pcm_of
from finetune.run import Run, write_whole

HEARD = "pseudo_labels.json"
AT_ONCE = 64
"""Recordings whose windows are in memory at a time."""


def heard(opened: Run, found: Recordings, part: Recognizer, config: Config) -> Unpaired | None:
    """Batches of what the recognizer is sure enough of, or None; says how much that is.

    What it hears is kept in RUN/pseudo_labels.json, so that a run that is resumed learns from the same.
    Raises DataError for recordings in another language.
    """
    path, least = opened.folder / HEARD, config.least_confidence
    if opened.main and not path.exists():
        began = time.process_time()
        made = [
            {"manifest": name, "confidence": round(sure, 4), **dataclasses.asdict(row)}
            for name, own in found.rows.items()
            for row, sure in _heard(own, part)
        ]
        opened.note(pseudo_labels_seconds=round(time.process_time() - began, 2))
        write_whole(path, json.dumps(made, ensure_ascii=False, indent=1))
    processes.wait()
    kept: dict[str, list[Utterance]] = {name: [] for name in found.rows}
    every = json.loads(path.read_text(encoding="utf-8"))
    for one in every:
        name, sure = one.pop("manifest"), one.pop("confidence")
        row = Utterance(**one)
        if row.text and sure >= least and text_key(row.text) not in found.held_out:
            kept[name].append(row)
    print(
        f"unpaired: {sum(map(len, kept.values()))} of {len(every)} recordings, or pieces of them, are heard with a "
        f"confidence of {least:g} or more, and learnt from"
    )
    usable = {name: recognizer.usable(own, part.vocabulary, part.network, part.config) for name, own in kept.items()}
    learnt = {name: own for name, own in usable.items() if own}
    return _batches(found, part, learnt, config.rows) if learnt else None


def on_trial(found: Recordings, part: Recognizer, texts: Sequence[str], rows: int) -> Unpaired:
    """Two batches with texts that nobody has heard in them: to measure what a step takes."""
    name, own = next(iter(found.rows.items()))
    cut = [pieces(row, part.windows)[0][0] for row in own[: 2 * rows]]
    said = [dataclasses.replace(row, text=texts[i % len(texts)], translation="") for i, row in enumerate(cut)]
    return _batches(found, part, {name: said}, rows)


def _batches(found: Recordings, part: Recognizer, learnt: Mapping[str, list[Utterance]], rows: int) -> Unpaired:
    return Unpaired(part.config, part.vocabulary, part.network.whisper.config.num_mel_bins, found, learnt, rows)


def pieces(row: Utterance, windows: Windows) -> list[tuple[Utterance, Window]]:
    """A recording as the service cuts it; one that is short enough is left whole."""
    cut = windows.of(pcm_of(row), Asked())
    if len(cut) == 1:
        return [(row, cut[0])]
    found = []
    begin = row.start_s
    for number, window in enumerate(cut, start=1):
        end = begin + window.seconds
        own = dataclasses.replace(
            row, id=f"{row.id}-{number}", start_s=begin, end_s=end, duration_s=round(window.seconds, 3)
        )
        found.append((own, window))
        begin = end
    return found


def _heard(rows: Sequence[Utterance], part: Recognizer) -> list[tuple[Utterance, float]]:
    """Pieces with their text, which is empty where nothing was heard, and how sure that is."""
    if strange := {base_language(row.language) for row in rows} - {part.language}:
        raise DataError(f"unpaired: got recordings in {', '.join(sorted(strange))}, expected {part.language}")
    made = []
    for first in tqdm(range(0, len(rows), AT_ONCE), desc="hear", unit=f" x {AT_ONCE} recordings", disable=None):
        cut = [piece for row in rows[first : first + AT_ONCE] for piece in pieces(row, part.windows)]
        prompts = [part.vocabulary.prompt(row.language) for row, _ in cut]
        found = labels(part.network, [window for _, window in cut], prompts, part.config.rows, part.vocabulary.end)
        made += [
            (dataclasses.replace(row, text=part.vocabulary.text_of(one.tokens), translation=""), one.confidence)
            for (row, _), one in zip(cut, found, strict=True)
        ]
    return made
