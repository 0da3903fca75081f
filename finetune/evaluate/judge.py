"""Who tells whether a voice is understood: a recognizer that has never heard it in training, named, or nobody.

For English PocketSphinx, which was trained on none of our voices. For other languages a pack whose recognizer was
trained apart, as both cards must show: no speaker, data or seed in common. One that was trained together with a voice
understands mistakes that people do not, and the pack's own recognizer is never asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.cards import read_card
from app.packs import Pack
from app.workers import connect
from app.workers.base import Recognizer
from finetune.evaluate.identity import stage_hash
from finetune.evaluate.normal import is_of

POCKETSPHINX = "PocketSphinx, general English"


@dataclass(frozen=True, slots=True)
class Judge:
    """A recognizer that may judge a pack's voice."""

    name: str
    """As figures name it."""
    identity: str
    """What kept results belong to."""
    pack: Pack | None = None
    """None: PocketSphinx."""

    def load(self) -> Recognizer:
        """The recognizer. Raises PackError."""
        return connect.load_judge() if self.pack is None else connect.load_recognizer(self.pack, "whisper")


def judge_of(pack: Pack, given: Pack | None) -> tuple[Judge | None, str]:
    """Who judges the voice of a pack, or why nobody does. `given`: the operator's judge. Raises PackError."""
    if given is None:
        if is_of(pack.language, "en"):
            return Judge(POCKETSPHINX, POCKETSPHINX), ""
        return None, f"no judge for {pack.language} that never heard this voice (--judge)"
    if why := _not_apart(pack, given):
        return None, f"{given.reference} cannot judge: {why}"
    return Judge(f"recognizer of {given.reference}, trained apart", stage_hash(given, "recognizer"), given), ""


def _not_apart(pack: Pack, judge: Pack) -> str:
    """Why a pack's recognizer may not judge another one's voice; empty: it may."""
    if not is_of(judge.language, pack.language):
        return f"it hears {judge.language}, the voice speaks {pack.language}"
    if stage_hash(judge, "recognizer") == stage_hash(pack, "recognizer"):
        return "it is the pack's own recognizer"
    heard, spoke = (_training(one, stage) for one, stage in ((judge, "recognizer"), (pack, "voice")))
    for one, facts, stage in ((judge, heard, "recognizer"), (pack, spoke, "voice")):
        if lacking := [name for name in ("seed", "speakers", "data") if name not in facts]:
            return f"the card of {one.reference} does not say {', '.join(lacking)} of the training of its {stage}"
    if shared := set(heard["speakers"]) & set(spoke["speakers"]):
        return f"it was trained on speakers of the voice: {', '.join(sorted(shared)[:5])}"
    learnt, taught = (
        {digest for name, digest in facts["data"].items() if not name.startswith("base")} for facts in (heard, spoke)
    )
    if learnt & taught:
        return "it was trained on data of the voice"
    if heard["seed"] == spoke["seed"]:
        return f"it was trained with the seed of the voice, {heard['seed']}"
    return ""


def _training(pack: Pack, stage: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_card(pack).get("training", {}).get(stage, {})
    return found
