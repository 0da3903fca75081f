"""Thousands of further words for names, cities and echoes, so that the model learns to copy. Knows no sentence.

Source: the CMU pronouncing dictionary (BSD) that comes with pocketsphinx, and made-up words.
"""

from __future__ import annotations

import importlib.util
import random
from functools import cache
from pathlib import Path

from finetune.starter import words
from finetune.starter.domain import user_sentences

MADE_UP_SHARE = 0.15
TWO_WORD_SHARE = 0.08
_ENDINGS = ("ing", "ed", "ly", "s", "ness", "able")  # "i am running" is no introduction
_ONSETS = (
    "b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "pr", "qu", "r",
    "s", "sh", "st", "t", "th", "tr", "v", "w", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "oo", "ou")
_CODAS = (
    "b", "ck", "d", "ft", "g", "l", "ll", "m", "n", "nd", "ng", "nt", "p", "r", "rd", "rk", "s", "ss", "st", "t", "th",
    "x",
)  # fmt: skip


@cache
def lexicon(count: int = 40_000, seed: int = 11) -> tuple[str, ...]:
    """Words of 3 to 9 letters that the domain itself does not use, some made up, some of two words."""
    rng = random.Random(seed)
    domain = {word for sentence in user_sentences(20_000, 5, "train") for word in sentence.split()}
    domain -= {*words.NAMES, *words.COMMON}
    listed = [word for word in _dictionary() if word not in domain and not word.endswith(_ENDINGS)]
    chosen = []
    for _ in range(count):
        word = made_up(rng) if rng.random() < MADE_UP_SHARE else rng.choice(listed)
        if rng.random() < TWO_WORD_SHARE:
            word += " " + rng.choice(listed)
        if words.is_kept_out(word) or not any(words.is_kept_out(part) for part in word.split()):
            chosen.append(word)
    return tuple(chosen)


def made_up(rng: random.Random) -> str:
    """A pronounceable word that does not exist, one to three syllables."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(1, 2)))
    return "".join(syllables) + rng.choice(("", "", "a", "o", "y", "ia"))


def _dictionary() -> list[str]:
    package = importlib.util.find_spec("pocketsphinx")
    if package is None or package.origin is None:
        raise FileNotFoundError("pocketsphinx is not installed; its CMU dictionary supplies the words to copy")
    path = Path(package.origin).parent / "model" / "en-us" / "cmudict-en-us.dict"
    heads = (line.split(" ", 1)[0] for line in path.read_text(encoding="utf-8").splitlines())
    return sorted({head for head in heads if 3 <= len(head) <= 9 and head.isascii() and head.isalpha()})
