"""Clips that say what a user says in a dialogue: what the recognizer hears of them is what the language model reads.

Knows no model and no loss.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.workers.whisper_windows import Asked, Window, Windows
from finetune.data.errors import DataError
from finetune.data.rows import Dialogue, Utterance
from finetune.data.texts import text_key
from finetune.recipes.language_rows import Row
from finetune.recipes.recognizer_clips import pcm_of
from finetune.sampling import Epochs, bucketed


@dataclass(frozen=True, slots=True)
class Pair:
    """A clip, and a dialogue whose last request it says."""

    clip: Utterance
    dialogue: Dialogue


def until_reply(dialogue: Dialogue) -> Dialogue:
    """As far as its last reply; without turns behind that, or as it is where there is no reply."""
    last = max((i for i, turn in enumerate(dialogue.turns) if turn.role == "assistant"), default=len(dialogue.turns))
    return dataclasses.replace(dialogue, turns=dialogue.turns[: last + 1])


def asked_at(dialogue: Dialogue) -> int:
    """The turn that the last reply answers; -1 where there is none."""
    last = max((i for i, turn in enumerate(dialogue.turns) if turn.role == "assistant"), default=0)
    return max((i for i, turn in enumerate(dialogue.turns[:last]) if turn.role == "user"), default=-1)


def said_in(dialogue: Dialogue, text: str) -> Dialogue:
    """The dialogue up to its last reply, with other words of the user before that."""
    cut, at = until_reply(dialogue), asked_at(dialogue)
    said = dataclasses.replace(cut.turns[at], text=text)
    return dataclasses.replace(cut, turns=(*cut.turns[:at], said, *cut.turns[at + 1 :]))


def last_reply(row: Row) -> Row:
    """Of a row with several replies only the last one counts."""
    begin = max((i for i in range(1, len(row.ids)) if row.written[i] and not row.written[i - 1]), default=0)
    return Row(row.ids, tuple(i >= begin and written for i, written in enumerate(row.written)))


def pairs_of(clips: Sequence[Utterance], dialogues: Sequence[Dialogue]) -> list[Pair]:
    """Every clip with every dialogue that it fits, by the words. Raises DataError where nothing fits."""
    said: defaultdict[str, list[Utterance]] = defaultdict(list)
    for clip in clips:
        if key := text_key(clip.text):
            said[key].append(clip)
    found = [
        Pair(clip, row)
        for row in dialogues
        if (at := asked_at(row)) >= 0
        for clip in said.get(text_key(row.turns[at].text), ())
    ]
    if not found:
        raise DataError(
            f"got no dialogue whose last request is the text of a clip, among {len(dialogues)} dialogues and "
            f"{len(clips)} clips; expected some, since edges go through what is heard of them"
        )
    return found


class Pairs:
    """Pairs by number of the batch: those of one length together, as the service batches windows."""

    def __init__(self, pairs: Sequence[Pair], windows: Windows, rows: int, seed: int) -> None:
        self.all = list(pairs)
        self._windows = windows
        lengths = [round(100 * pair.clip.duration_s) for pair in pairs]
        self._epochs = Epochs(lambda epoch: bucketed(lengths, rows, random.Random(f"pairs {seed} {epoch}")))

    def batch(self, number: int) -> list[Pair]:
        """The pairs of a number."""
        return [self.all[place] for place in self._epochs.find(number)[1]]

    def windows(self, pairs: Sequence[Pair]) -> list[Window]:
        """The first window of each clip, as the service cuts it; one without frames where nobody speaks."""
        return [self._windows.of(pcm_of(pair.clip), Asked())[0] for pair in pairs]


def features(windows: Sequence[Window]) -> Tensor:
    """[B, M, T] of windows, zeros behind the shorter ones."""
    longest = max(window.frames for window in windows)
    return torch.stack(
        [torch.nn.functional.pad(torch.from_numpy(one.features), (0, longest - one.frames)) for one in windows]
    )
