"""One pack through all of its stages: everything that figures are made of, nothing of what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.packs import Pack
from app.workers import connect
from finetune.data.kept import Kept
from finetune.data.rows import Dialogue
from finetune.data.texts import text_key
from finetune.evaluate.cases import Clip
from finetune.evaluate.identity import stage_hash
from finetune.evaluate.judge import Given, Judge, judge_of
from finetune.evaluate.listening import Heard, hear
from finetune.evaluate.normal import is_of
from finetune.evaluate.replying import Replied, reply
from finetune.evaluate.speaking import Spoken, Turn, answer, close, say

CONTROL: Final = 100
"""Recordings that a judge hears."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a pack. A tuple is empty where there was nothing to measure, or no way to."""

    pack: Pack
    heard: tuple[Heard, ...]
    """One a clip."""
    replied: tuple[Replied, ...]
    spoken: tuple[Spoken, ...]
    turns: tuple[Turn, ...]
    """One a clip in the pack's own language."""
    judge: str
    """Who judged the voice; empty: nobody."""
    not_measured: tuple[tuple[str, str], ...]
    """What, and why."""
    control: tuple[tuple[Clip, Heard], ...] = ()
    """What the judge heard in recordings: its own error, without which that of the voice says little."""


async def measure(
    pack: Pack, clips: Sequence[Clip], dialogues: Sequence[Dialogue], kept: Kept, judging: Given | None = None
) -> Measured:
    """Loads the exported workers as the service does, and asks them everything that is not in `kept`.

    `judging`: who is to judge the voice, if it may.
    """
    missing: list[tuple[str, str]] = []
    own = [clip for clip in clips if clip.is_own(pack.language)]
    stages = {stage: stage_hash(pack, stage) for stage in ("recognizer", "language", "voice")}
    # 1. The recognizer, on every language: what it forgot of others counts.
    recognizer = connect.load_recognizer(pack, "whisper")
    heard = await hear(recognizer, clips, kept, stages["recognizer"], pack.reference)
    close(recognizer)
    served = {
        text_key(clip.row.text): h.text for clip, h in zip(clips, heard, strict=True) if clip.is_own(pack.language)
    }
    refused = {clip.row.language for clip, h in zip(clips, heard, strict=True) if h.finish_ms is None}
    missing += [
        (f"{tag} by {pack.reference}", "its recognizer refuses it: counts as hearing nothing")
        for tag in sorted(refused)
    ]
    # 2. The voice, on replies where there are dialogues, else on what the callers said.
    voice = connect.load_synthesizer(pack)
    judge, why = judge_of(pack, judging)
    if judge is None:
        missing.append(("round trip of the voice", why))
    replies = [turn for one in dialogues if is_of(one.language, pack.language) for turn in one.turns]
    texts = [turn.text for turn in replies if turn.role == "assistant" and turn.text]
    texts = list(dict.fromkeys(texts or [clip.row.text for clip in own]))
    spoken = await say(voice, pack, texts, kept, stages["voice"], judge)
    control = await _control(judge, own, kept) if judge else []
    if judge and own and not control:
        missing.append(("own error of the judge", "it has heard every speaker of the clips in training"))
    # 3. The language model, given what was heard; and all three together.
    replied: list[Replied] = []
    turns: list[Turn] = []
    if pack.language_folder.is_dir():
        model = connect.load_language(pack)
        replied = await reply(model, pack, dialogues, served, kept, stages["language"])
        transcripts = [h.text for clip, h in zip(clips, heard, strict=True) if clip.is_own(pack.language)]
        both = stages["language"] + stages["voice"]
        turns = await answer(model, voice, pack, transcripts, kept, both)
        close(model)
    else:
        missing.append(
            ("replies and cascade", f"the pack has no {pack.language_folder.name}/: its model is served elsewhere")
        )
    if not dialogues:
        missing.append(("reply quality", "no dialogues were given (--dialogues)"))
    close(voice)
    named = judge.name if judge else ""
    return Measured(
        pack, tuple(heard), tuple(replied), tuple(spoken), tuple(turns), named, tuple(missing), tuple(control)
    )


async def _control(judge: Judge, clips: Sequence[Clip], kept: Kept) -> list[tuple[Clip, Heard]]:
    """What a judge hears in clips of speakers that it does not know, CONTROL of them at most, from all over."""
    unknown = [clip for clip in clips if not judge.has_heard(clip.row.speaker)]
    some = [unknown[i * len(unknown) // CONTROL] for i in range(CONTROL)] if len(unknown) > CONTROL else unknown
    if not some:
        return []
    recognizer = judge.load()
    heard = await hear(recognizer, some, kept, judge.identity, "the judge")
    close(recognizer)
    return list(zip(some, heard, strict=True))
