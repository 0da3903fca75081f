"""What tokenizers and voices can write or say: of a pack, or of Hugging Face and Coqui folders. Knows no audio."""

from __future__ import annotations

import gzip
import json
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.packs import read_pack
from finetune.data.errors import DataError

STAGES = ("recognizer", "language", "voice")


@dataclass(frozen=True, slots=True)
class Speller:
    """One stage's way to cut a text into its units."""

    stage: str
    """recognizer, language or voice."""
    name: str
    count: Callable[[str], int]
    """Tokens of a text; a voice's are characters."""
    knows: Callable[[str], bool]
    """Whether a single character comes through."""
    languages: frozenset[str] | None = None
    """Language tokens of a multilingual recognizer; None where it has none."""

    def uncovered(self, texts: Iterable[str]) -> Counter[str]:
        """Characters that it cannot spell, with how often they occur; without spaces, and for a voice signs."""
        counts = Counter(letter for text in texts for letter in unicodedata.normalize("NFC", text))
        skipped = "ZCPS" if self.stage == "voice" else "ZC"
        return Counter(
            {c: n for c, n in counts.items() if unicodedata.category(c)[0] not in skipped and not self.knows(c)}
        )


def spellers_of_pack(folder: Path) -> list[Speller]:
    """Those of the pack's three stages."""
    pack = read_pack(folder)
    return [
        tokenizer("recognizer", pack.recognizer_folder),
        tokenizer("language", pack.language_folder),
        voice(pack.voice_folder),
    ]


def tokenizer(stage: str, folder: Path) -> Speller:
    """Of a folder with tokenizer.json, as Hugging Face and CTranslate2 models have. Raises DataError."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"{folder} has no tokenizer.json; load and save its tokenizer with transformers to make one")
    loaded = Tokenizer.from_file(str(path))
    unknown = getattr(loaded.model, "unk_token", None)
    vocabulary = loaded.get_vocab()
    languages = frozenset(name[2:-2] for name in vocabulary if name.startswith("<|") and len(name) in (6, 7))

    def knows(letter: str) -> bool:
        encoded = loaded.encode(letter, add_special_tokens=False)
        if unknown is not None and unknown in encoded.tokens:
            return False
        back = unicodedata.normalize("NFKC", loaded.decode(encoded.ids)).casefold()
        return unicodedata.normalize("NFKC", letter).casefold().strip() in back  # a tokenizer may fold case or width

    def count(text: str) -> int:
        return len(loaded.encode(text, add_special_tokens=False).ids)

    return Speller(stage, folder.name, count, knows, languages if stage == "recognizer" and languages else None)


def voice(folder: Path) -> Speller:
    """Of our ONNX voice, a Hugging Face VITS (vocab.json) or a Coqui model (config.json). Raises DataError."""
    letters = _letters(folder)
    if letters is None:
        return Speller("voice", folder.name, len, lambda letter: True)
    return Speller("voice", folder.name, len, lambda letter: letter in letters or letter.casefold() in letters)


def _letters(folder: Path) -> set[str] | None:
    """What the voice reads; None for one that reads phones, which eSpeak NG makes of any letter it knows."""
    facts = folder / "voice.json"
    said: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
    if said.get("symbols") == "characters":  # ours: digits become words before, marks that it has not are dropped
        return {*said["phones"][1:], *string.digits}
    lexicon, vocabulary, config = folder / "lexicon.txt.gz", folder / "vocab.json", folder / "config.json"
    if lexicon.is_file():  # ours: letter rules were learnt from the lexicon's words, digits become words before
        with gzip.open(lexicon, "rt", encoding="utf-8") as file:
            return {letter for line in file for letter in line.split(" ", 1)[0]} | set(string.digits)
    if vocabulary.is_file():
        said = json.loads(vocabulary.read_text(encoding="utf-8"))
        said = said.get("model", {}).get("vocab", said)  # XTTS has a whole tokenizer in it
        return {letter for token in said for letter in token}
    if (folder / "vocab.txt").is_file():  # MMS as Meta publishes it: a symbol a line
        return set("".join((folder / "vocab.txt").read_text(encoding="utf-8").split("\n")))
    settings = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    if settings.get("use_phonemes"):
        return None
    characters = settings.get("characters")
    if not characters:
        raise DataError(f"{folder} has neither lexicon.txt.gz, vocab.json, vocab.txt, nor config.json with characters")
    return set((characters.get("characters") or "") + (characters.get("punctuations") or ""))
