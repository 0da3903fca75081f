"""A small language that nobody speaks, for comparisons on any machine: words, requests with replies, recordings.

`python -m finetune.compare.small_language` writes it, in a minute.

Two languages of the same letters: `old`, which the base learns, and `new`. A request is three words; the reply is two:
what the language has for the last one and for the first one, by a table that is to be learnt. Requests, replies and
speakers of test are in no other set. The same seed makes the same clips.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import soundfile
from tqdm import tqdm

from app.audio import HEARING_RATE, resample
from app.workers.vocoder import RATE
from finetune.compare.formants import SONORANTS, STOPS, VOWELS, ends, noisy, speak, speaker
from finetune.data.ledger import NAME as LEDGER
from finetune.data.ledger import Ledger
from finetune.data.manifest import write_manifest
from finetune.data.rows import Dialogue, Turn, Utterance

DATA: Final = Path("runs/compare/data")
SEED: Final = 1
TAG: Final = "qaa"  # BCP 47, for private use
WORDS: Final = 40
ASKED: Final = 3
"""Words of a request."""
CONSONANTS: Final = "".join([*SONORANTS, *STOPS, "s", "f"])
TESTED, DEVELOPED = 0.25, 0.15
"""Shares of all replies."""
LICENCE, CONSENT = "CC0-1.0", "a made-up voice, no person"
NOISE: Final = (15.0, 35.0)
"""Decibels between speech and noise in recordings of callers; readers are recorded clean."""


@dataclass(frozen=True, slots=True)
class Part:
    """So many clips by so many speakers, all of one split."""

    split: str
    speakers: int
    clips: int
    """Of each speaker."""


@dataclass(frozen=True, slots=True)
class Set:
    """One dataset folder."""

    name: str
    language: str
    parts: tuple[Part, ...]
    people: str = "callers"
    """callers: requests, in noise, and dialogues; reader: two replies at a time, clean, one voice; others: requests and
    replies; words: callers who say a word or two, from which a recognizer that knows nothing learns first."""


SETS: Final = (
    Set("old-words", "old", (Part("train", 16, 30),), "words"),
    Set("old", "old", (Part("train", 16, 40), Part("dev", 3, 12), Part("test", 8, 5))),
    Set("old-reader", "old", (Part("train", 1, 150), Part("dev", 1, 12)), "reader"),
    Set("small", "new", (Part("train", 8, 20), Part("dev", 3, 12))),
    Set("large", "new", (Part("train", 24, 30), Part("dev", 3, 12))),
    Set("reader", "new", (Part("train", 1, 150), Part("dev", 1, 12)), "reader"),
    Set("judge", "new", (Part("train", 20, 30), Part("dev", 4, 10)), "others"),
    Set("test", "new", (Part("test", 20, 8),)),
)


class Language:
    """Its words, and what it has for each."""

    def __init__(self, name: str, seed: int) -> None:
        draw = random.Random(f"{seed} {name}")
        syllables = [c + v for c in CONSONANTS for v in VOWELS]
        found: list[str] = []
        while len(found) < WORDS:
            word = "".join(draw.sample(syllables, draw.choice((1, 2, 2, 2))))
            if word not in found:
                found.append(word)
        self.words = tuple(found)
        others = draw.sample(found, len(found))
        self._has = dict(zip(found, others, strict=True))

    def reply(self, request: str) -> str:
        """The right one."""
        words = request.split()
        return f"{self._has[words[-1]]} {self._has[words[0]]}"


def write(folder: Path, seed: int, sets: Sequence[Set] = SETS) -> None:
    """All datasets that are not in the folder yet, each with manifest, audio, ledger, and dialogues of callers."""
    for one in sets:
        if not (folder / one.name / "manifest.jsonl").exists():
            _write(folder / one.name, one, seed)


def _write(folder: Path, one: Set, seed: int) -> None:
    language = Language(one.language, seed)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    clips, dialogues = [], []
    for part in one.parts:
        texts = _texts(one, part.split, language, seed)
        for number in tqdm(range(part.speakers * part.clips), desc=f"{one.name} {part.split}", disable=None):
            name, text = f"{one.name}-{part.split}-{number:04d}", next(texts)
            who = _who(one, part.split, number // part.clips)
            clips.append(_clip(folder, one, name, text, who, part.split, seed))
            if one.people == "callers":
                turns = (Turn("user", text), Turn("assistant", language.reply(text)))
                dialogues.append(Dialogue(name, TAG, turns, "made up", LICENCE, CONSENT, part.split))
    if dialogues:
        write_manifest(folder / "dialogues.jsonl", dialogues)
    Ledger(folder / LEDGER).add_clips(clips, "manifest.jsonl")
    write_manifest(folder / "manifest.jsonl", clips)  # last: a folder that has it is whole


def _texts(one: Set, split: str, language: Language, seed: int) -> Iterator[str]:
    """What is said, endlessly; but for words none twice."""
    draw = random.Random(f"{seed} {one.name} {split}")
    seen: set[str] = set()

    def request() -> str:
        while True:
            text = " ".join(draw.choice(language.words) for _ in range(ASKED))
            if split_of(language.reply(text), seed) == split:
                return text

    while True:
        if one.people == "words":
            yield " ".join(draw.choice(language.words) for _ in range(draw.choice((1, 1, 2))))
            continue
        text = request()
        if one.people == "reader":
            text = f"{language.reply(text)} {language.reply(request())}"
        elif one.people == "others" and len(seen) % 2:
            text = language.reply(text)
        if text not in seen:
            seen.add(text)
            yield text


def split_of(reply: str, seed: int) -> str:
    """Of a reply and of all requests that it answers: what test asks for was never replied in training."""
    place = random.Random(f"{seed} {reply}").random()
    return "test" if place < TESTED else "dev" if place < TESTED + DEVELOPED else "train"


def sounds(row: Utterance, seed: int) -> list[tuple[str, float]]:
    """Each sound of a clip that `write` made, and when it ends, in seconds."""
    return ends(row.text, speaker(f"{seed} {row.speaker}"), _draw(seed, row.id))


def _draw(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed} {name}")


def _who(one: Set, split: str, number: int) -> str:
    """Callers of one language and split are the same people in every set."""
    if one.people == "reader":
        return one.name
    return f"{one.name if one.people == 'others' else one.language}-{split}-{number}"


def _clip(folder: Path, one: Set, name: str, text: str, who: str, split: str, seed: int) -> Utterance:
    """Speech and its row; the file is there whole or not at all."""
    path = folder / "audio" / f"{name}.flac"
    waveform, rate = speak(text, speaker(f"{seed} {who}"), draw := _draw(seed, name)), RATE
    if one.people != "reader":
        waveform = noisy(resample(waveform, RATE, HEARING_RATE), draw.uniform(*NOISE), draw.randrange(2**31))
        rate = HEARING_RATE
    soundfile.write(path, waveform, rate, format="FLAC", subtype="PCM_16")
    seconds = round(len(waveform) / rate, 3)
    return Utterance(name, f"audio/{name}.flac", text, TAG, who, seconds, "made up", LICENCE, CONSENT, split)


def main() -> None:
    """Writes what is not there yet."""
    write(DATA, SEED)
    print(f"{', '.join(one.name for one in SETS)} in {DATA}")


if __name__ == "__main__":
    main()
