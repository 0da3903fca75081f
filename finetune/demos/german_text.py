"""German requests and sentences as they are spoken, and to which split each belongs. Knows no audio and no model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from finetune.data.texts import groups, text_key

ONES: Final = (
    "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf",
    "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn",
)  # fmt: skip
TENS: Final = ("", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
SIGNS: Final = {"%": " prozent ", "°": " grad ", "-": " ", "’": "", "'": "", "ʻ": ""}
SHARES: Final = {"dev": 0.06, "test": 0.10}
"""Of the groups of sentences that are nearly the same."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller says, and the answer where there is one."""

    id: str
    said: str
    """Spoken form: lower-case words, no punctuation, numbers in words."""
    answer: str
    """As it is written; empty: none."""
    split: str


def number(value: int) -> str:
    """0 to 9999 in words. Raises ValueError."""
    if not 0 <= value <= 9999:
        raise ValueError(f"got {value}, expected 0 to 9999")
    words = ""
    for size, name in ((1000, "tausend"), (100, "hundert")):
        if value >= size:
            words += _joined(value // size) + name
            value %= size
    if value >= 20:
        return words + (_joined(value % 10) + "und" if value % 10 else "") + TENS[value // 10]
    return words + ONES[value] if value or not words else words


def spoken(text: str) -> str:
    """Spoken form of German text; "" where it holds something whose reading is not plain."""
    said = re.sub(r"(?<=\d)K\b", " kelvin", text)
    for sign, word in SIGNS.items():
        said = said.replace(sign, word)
    said = re.sub(r"\b1(?= (stunde|minute|sekunde)\b)", "eine", said.lower())
    said = re.sub(r"\d+", lambda found: f" {number(int(found[0]))} " if len(found[0]) < 5 else found[0], said)
    said = " ".join(re.sub(r"[.,!?;:\"„“«»()–]", " ", said).split())
    return said if re.fullmatch(r"[a-zäöüß ]+", said) else ""


def requests(data: Path) -> list[Request]:
    """German rows of the home commands, each once. `data` is the folder of open corpora (PARLEY_DATA)."""
    found: dict[str, tuple[str, str]] = {}
    with (data / "text/commands/multi_home_assistant.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["language"] == "de" and (said := spoken(row["user"])):
                found.setdefault(said, (row["id"], row["assistant"] or ""))
    splits = splits_of(list(found))
    return [Request(name, said, answer, splits[said]) for said, (name, answer) in found.items()]


def splits_of(texts: Sequence[str]) -> dict[str, str]:
    """A split for each text, by the hash of what it is nearly the same as: a test sentence has no twin in training."""
    first: dict[int, str] = {}
    numbers = groups(texts)
    for text, group in sorted(zip(texts, numbers, strict=True)):
        first.setdefault(group, text)
    return {text: _split(first[group]) for text, group in zip(texts, numbers, strict=True)}


def _split(text: str) -> str:
    place = int(hashlib.sha256(text_key(text).encode()).hexdigest()[:8], 16) / 16**8
    if place < SHARES["test"]:
        return "test"
    return "dev" if place < SHARES["test"] + SHARES["dev"] else "train"


def _joined(digit: int) -> str:
    """A digit within a longer number: einundzwanzig, einhundert."""
    return "ein" if digit == 1 else ONES[digit]
