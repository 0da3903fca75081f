"""Who tells whether a voice is understood: a recognizer that has never heard it in training, named, or nobody.

For English PocketSphinx, which was trained on none of our voices. For other languages a judge of `parley finetune
judge`, or a pack whose recognizer was trained apart, as what both say of their training must show: no speaker, data or
seed in common. One that was trained together with a voice understands mistakes that people do not, and the pack's own
recognizer is never asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cards import read_card
from app.packs import Pack
from app.workers import connect
from app.workers.base import Recognizer
from finetune.evaluate.ctc_judge import CtcRecognizer, folder_of, read
from finetune.evaluate.identity import folder_hash, stage_hash
from finetune.evaluate.normal import is_of

POCKETSPHINX = "PocketSphinx, general English"


@dataclass(frozen=True, slots=True)
class Given:
    """A judge that the operator names: a pack, or a folder of `parley finetune judge`."""

    name: str
    language: str
    training: Mapping[str, Any]
    """What its recognizer was trained on: seed, speakers, data."""
    identity: str
    """Hash of its weights."""
    source: Pack | Path

    def load(self) -> Recognizer:
        """The recognizer. Raises PackError, RunError."""
        if isinstance(self.source, Pack):
            return connect.load_recognizer(self.source, "whisper")
        return CtcRecognizer(self.source)


@dataclass(frozen=True, slots=True)
class Judge:
    """A recognizer that may judge a pack's voice."""

    name: str
    """As figures name it."""
    identity: str
    """What kept results belong to."""
    given: Given | None = None
    """None: PocketSphinx."""

    def load(self) -> Recognizer:
        """The recognizer. Raises PackError, RunError."""
        return connect.load_judge() if self.given is None else self.given.load()

    def has_heard(self, speaker: str) -> bool:
        """Whether it was trained on a speaker."""
        return self.given is not None and speaker in self.given.training["speakers"]


def pack_judge(pack: Pack) -> Given:
    """A pack as a judge. Raises PackError."""
    identity = stage_hash(pack, "recognizer")
    return Given(f"recognizer of {pack.reference}", pack.language, _training(pack, "recognizer"), identity, pack)


def ctc_judge(path: Path) -> Given | None:
    """The judge in a folder or run folder; None: there is none. Raises RunError for one that is damaged."""
    if (folder := folder_of(path)) is None:
        return None
    facts = read(folder)
    return Given(f"CTC judge {facts.name}", facts.language, facts.training, folder_hash(folder), folder)


def judge_of(pack: Pack, given: Given | None) -> tuple[Judge | None, str]:
    """Who judges the voice of a pack, or why nobody does. `given`: the operator's judge. Raises PackError."""
    if given is None:
        if is_of(pack.language, "en"):
            return Judge(POCKETSPHINX, POCKETSPHINX), ""
        return None, f"no judge for {pack.language} that never heard this voice (--judge)"
    if why := _not_apart(pack, given):
        return None, f"{given.name} cannot judge: {why}"
    return Judge(f"{given.name}, trained apart", given.identity, given), ""


def _not_apart(pack: Pack, judge: Given) -> str:
    """Why a judge may not judge a pack's voice; empty: it may."""
    if not is_of(judge.language, pack.language):
        return f"it hears {judge.language}, the voice speaks {pack.language}"
    if judge.identity == stage_hash(pack, "recognizer"):
        return "it is the pack's own recognizer"
    voice = _training(pack, "voice")
    for facts, whose in ((judge.training, "it does not say"), (voice, f"the card of {pack.reference} does not say")):
        if lacking := [name for name in ("seed", "speakers", "data") if name not in facts]:
            return f"{whose} {', '.join(lacking)} of the training of its {'voice' if facts is voice else 'recognizer'}"
    for stage in ("voice", "recognizer"):  # whoever learnt from the same speakers makes the same mistakes
        taught = _training(pack, stage)
        if shared := set(judge.training["speakers"]) & set(taught.get("speakers", ())):
            return f"it was trained on speakers of the pack's {stage}: {', '.join(sorted(shared)[:5])}"
        if _digests(judge.training) & _digests(taught):
            return f"it was trained on data of the pack's {stage}"
    if judge.training["seed"] == voice["seed"]:
        return f"it was trained with the seed of the voice, {voice['seed']}"
    return ""


def _digests(training: Mapping[str, Any]) -> set[str]:
    """Fingerprints of data, without bases: what those learnt from is in their own facts."""
    return {digest for name, digest in training.get("data", {}).items() if not name.startswith("base")}


def _training(pack: Pack, stage: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_card(pack).get("training", {}).get(stage, {})
    return found
