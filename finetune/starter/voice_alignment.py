"""Which frames each symbol of a corpus takes, kept in a file. Knows no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from app.front_end import FrontEnd
from finetune.data.errors import DataError
from finetune.run import write_whole
from finetune.starter.voice_aligner import Segments, Words, align, least_frames
from finetune.starter.voice_corpus import Clip

Alignment: TypeAlias = dict[str, tuple[Words, Segments]]
"""Words and segments of each clip by its id."""


def aligned(clips: Sequence[Clip], front: FrontEnd, path: Path | None) -> Alignment:
    """From the file where it exists; else found, which takes minutes, and kept there unless `path` is None.

    Raises DataError that lists all recordings that are too short for their texts.
    """
    if path is not None and path.exists():
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {name: (row["words"], [(p, int(n)) for p, n in row["segments"]]) for name, row in rows.items()}
    words = [pronounced(clip.recording.text, front) for clip in clips]
    short = [
        f"{clip.recording.id} ({len(clip.mel)} frames, its text needs {least_frames(own)})"
        for clip, own in zip(clips, words, strict=True)
        if not own or len(clip.mel) < least_frames(own)
    ]
    if short:
        raise DataError(f"recordings too short for their texts, or texts without words: {'; '.join(short)}")
    segments = align([clip.mel.astype(np.float32) for clip in clips], words)
    found = {clip.recording.id: (own, s) for clip, own, s in zip(clips, words, segments, strict=True)}
    if path is not None:
        rows = {name: {"words": own, "segments": s} for name, (own, s) in found.items()}
        write_whole(path, json.dumps(rows, ensure_ascii=False))
    return found


def pronounced(text: str, front: FrontEnd) -> Words:
    """The symbols of each word of a text that has any."""
    words = [spoken.word for spoken in front.words(text)]
    read = [list(front.phones(word, after)) for word, after in zip(words, [*words[1:], ""], strict=True)]
    return [word for word in read if word]
