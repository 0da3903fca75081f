"""Pronunciation lexicons: CMUdict (ARPAbet), ipa-dict (word TAB /IPA/), wikipron (word TAB phones with spaces)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from finetune.data.errors import ManifestError
from finetune.data.rows import Pronunciation

VARIANT = re.compile(r"\((\d+)\)$")
STRESS = re.compile(r"\d$")
BINDING = "\u0361\u035c"  # the tie bars of affricates
LENGTH = "ːˑʰʲʷˠˤⁿˡ˞˥˦˧˨˩"  # marks that belong to the sound before them
BEFORE = "ˈˌ'ˌ²¹ⁿᵐ"  # marks that belong to the sound after them


def rows(source: Path, *, language: str, licence: str) -> Iterator[Pronunciation]:
    """Entries of a file; the form is told by its lines. Raises ManifestError naming the line."""
    seen: Counter[str] = Counter()
    try:
        with source.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                text = line.split("#")[0].strip() if "\t" not in line else line.strip()
                if not text or line.startswith(";;;"):
                    continue
                for word, phones, alphabet in _entries(text, f"{source}:{number}"):
                    seen[word] += 1
                    yield Pronunciation(word, phones, alphabet, language, source.name, licence, seen[word])
    except OSError as error:
        raise ManifestError(f"{source} cannot be read: {error.strerror}") from error


def _entries(line: str, where: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    if "\t" not in line:
        word, *phones = line.split()
        if not phones:
            raise ManifestError(f"{where}: got {line!r}, expected WORD PHONES or WORD<tab>IPA")
        bare = tuple(STRESS.sub("", phone).lower() for phone in phones)
        yield VARIANT.sub("", word).lower(), bare, "arpabet"
        return
    word, said = line.split("\t", 1)
    slashed = said.startswith("/")
    # wikipron puts a space between phones; ipa-dict between words, if anywhere
    variants = (
        [tuple(ipa_phones(text.strip().strip("/"))) for text in said.split(", ")] if slashed else [tuple(said.split())]
    )
    if not any(variants) or not word:
        raise ManifestError(f"{where}: got {line!r}, expected WORD<tab>IPA")
    for variant in filter(None, variants):
        yield word, variant, "ipa"


def ipa_phones(text: str) -> Iterator[str]:
    """IPA without spaces cut into sounds: a letter with its marks, and affricates bound by a tie bar."""
    phone, bound = "", False
    for letter in unicodedata.normalize("NFD", text):
        if letter.isspace() or letter in ".‿":
            continue
        attaches = unicodedata.combining(letter) or letter in LENGTH or bound or (phone and phone[-1] in BEFORE)
        if phone and not attaches:
            yield unicodedata.normalize("NFC", phone)
            phone = ""
        phone += letter
        bound = letter in BINDING
    if phone:
        yield unicodedata.normalize("NFC", phone)
