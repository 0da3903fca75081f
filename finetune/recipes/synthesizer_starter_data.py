"""Rows of manifests to what the starter's kind of voice learns from: symbols, voices, batches. Knows no network."""

from __future__ import annotations

import gzip
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from app.front_end import FrontEnd, Symbols, bare, by_characters, by_lexicon
from app.pronounce import LEXICON, RULES, Pronouncer
from app.spoken_any import says_numbers, says_sign
from finetune import sampling
from finetune.data.errors import DataError
from finetune.data.manifest import read_lexicon
from finetune.data.rows import Utterance
from finetune.errors import ConfigError
from finetune.recipes.synthesizer_starter_config import Config
from finetune.starter import pronunciation
from finetune.starter.voice_acoustic import Item, collate, item
from finetune.starter.voice_alignment import Alignment
from finetune.starter.voice_corpus import Clip, Recording
from finetune.starter.voice_vocoder import Scale


@dataclass(frozen=True)
class Reading:
    """How the voice will read, and the tables that its folder needs for it."""

    language: str
    front: FrontEnd
    symbols: Symbols
    said: dict[str, str]
    tables: dict[str, dict[str, str]]
    """File name to key and phones; empty where symbols are characters."""

    def write(self, folder: Path) -> None:
        """The tables, as `read_front_end` reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            text = "".join(f"{key}\t{value}\n" for key, value in sorted(rows.items()))
            (folder / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def reading_of(config: Config, rows: Sequence[Utterance]) -> Reading:
    """The front end for these rows. Raises ConfigError, and DataError that lists every character that is unknown."""
    languages = sorted({row.language for row in rows})
    if len(languages) > 1:
        raise DataError(f"got rows in {', '.join(languages)}, expected one language")
    language = languages[0]
    said = dict(one.split("=", 1) for one in config.said)
    if not says_numbers(language, said):
        raise ConfigError(
            f"said: CLDR has no number words of {language}, expected all ten digits, for instance said: [0=zero, ...]"
        )
    if config.symbols == "characters":
        letters = sorted(set(config.letters.lower()))
        front, known = by_characters(language, letters, said), frozenset(letters)
        tables: dict[str, dict[str, str]] = {}
    else:
        lexicon: dict[str, tuple[str, ...]] = {}
        for entry in sorted(read_lexicon(Path(config.lexicon)), key=lambda entry: entry.variant):
            lexicon.setdefault(entry.word.lower(), entry.phones)
        rules = pronunciation.learn_rules(lexicon)
        listed = {word: " ".join(phones) for word, phones in lexicon.items()}
        phones = sorted({phone for one in lexicon.values() for phone in one})
        front = by_lexicon(language, Pronouncer(listed, rules), phones, said)
        known = frozenset(rule[1] for rule in rules if len(rule) == 2)
        tables = {LEXICON: listed, RULES: rules}
    _expect_known(rows, front, known, language, said)
    return Reading(language, front, config.symbols, said, tables)


def _expect_known(
    rows: Sequence[Utterance], front: FrontEnd, known: frozenset[str], language: str, said: dict[str, str]
) -> None:
    """Raises DataError with all characters that nobody could say, how often they occur and where first."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name, text in [("said", " ".join(said.values())), *((row.id, row.text) for row in rows)]:
        words = "".join(word.word for word in front.words(text)).replace("'", "")
        letters = {letter for letter in words if not {letter, bare(letter)} & known}
        composed = unicodedata.normalize("NFC", text)
        signs = {c for c in composed if not c.isalnum() and c.isprintable() and not says_sign(c, language, said)}
        for character in letters | signs:
            counts[character] += 1
            first.setdefault(character, name)
    if counts:
        listed = ", ".join(f"{c!r} in {n} texts (first {first[c]})" for c, n in counts.most_common())
        raise DataError(f"characters that the voice cannot say: {listed}; expected letters, or signs that `said` names")


def recordings_of(rows: Sequence[Utterance]) -> list[Recording]:
    """What `voice_corpus` reads."""
    return [Recording(row.id, row.text, row.split, row.audio, row.speaker, row.start_s, row.end_s) for row in rows]


def voices_of(config: Config, rows: Sequence[Utterance]) -> tuple[str, ...]:
    """Speakers that become voices, the default first. Raises ConfigError for one who is not in the data."""
    seconds: Counter[str] = Counter()
    for row in rows:
        seconds[row.speaker] += round(row.duration_s)
    if missing := [speaker for speaker in config.speakers if speaker not in seconds]:
        raise ConfigError(f"speakers: {', '.join(missing)} not in the data; there are: {', '.join(sorted(seconds))}")
    return config.speakers or tuple(speaker for speaker, _ in seconds.most_common())


def items_of(
    clips: Iterable[Clip], found: Alignment, scale: Scale, front: FrontEnd, voices: Sequence[str]
) -> list[Item]:
    """Utterances, ready for batches."""
    return [
        item(clip, *found[clip.recording.id], scale, front.symbols, voices.index(clip.recording.speaker))
        for clip in clips
    ]


class Batches:
    """Utterances of about one length, by number."""

    def __init__(self, items: Sequence[Item], rows: int, seed: int) -> None:
        """`rows` of each batch."""
        self._items = items
        lengths = [len(one.mel) for one in items]
        self._epochs = sampling.Epochs(lambda epoch: sampling.bucketed(lengths, rows, random.Random(f"{seed} {epoch}")))

    def batch(self, number: int) -> list[Tensor]:
        """See `collate`."""
        _, chosen = self._epochs.find(number)
        return collate([self._items[place] for place in chosen])
