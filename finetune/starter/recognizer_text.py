"""Sentences for the starter's recognizer, in spoken form, and its tokenizer. Knows no audio and no model.

Spoken form: lower-case words with apostrophes, single spaces, no punctuation, numbers as words.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from finetune.starter import words
from finetune.starter.domain import split_of, user_sentences

VOCABULARY = 900
"""Text tokens; 256 of them are the bytes."""
MOMENTS = 1501
"""Timestamp tokens, 0.00 to 30.00 s in steps of 0.02 s: Whisper's format has them even where they are not used."""
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]
"""In Whisper's order. Without the empty token of OpenAI's vocabulary, CTranslate2 takes the model for English-only."""
ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "etc": "et cetera", "st": "saint"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Sentences:
    """What the voices are given to say."""

    domain: tuple[str, ...]
    """User turns of the assistant's domain, split `train`."""
    open: tuple[str, ...]
    """Sentences of open conversation; empty without PARLEY_DATA."""
    dictionary: tuple[str, ...]
    """Single words of the pronouncing dictionary."""

    def draw(self, rng: random.Random) -> str:
        """One sentence: two thirds domain, the rest open text, loose words, numbers, letters and names.

        A sentence whose text belongs to the domain's dev or test split is never drawn, whatever it came from.
        """
        while split_of(sentence := self._draw(rng)) != "train":
            pass
        return sentence

    def _draw(self, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.66:
            return rng.choice(self.domain)
        if chance < 0.79 and self.open:
            return rng.choice(self.open)
        if chance < 0.86:
            return " ".join(rng.choice(rng.choice(self.domain).split()) for _ in range(rng.randint(1, 7)))
        if chance < 0.91:
            return " ".join(rng.choice(self.dictionary) for _ in range(rng.randint(1, 5)))
        if chance < 0.95:
            return " ".join(rng.choice(words.ONES[:10]) for _ in range(rng.randint(1, 8)))
        if chance < 0.97:
            return " ".join(rng.choice(words.ONES + words.TENS[2:]) for _ in range(rng.randint(1, 5)))
        if chance < 0.98:
            return " ".join(rng.choice(LETTERS) for _ in range(rng.randint(2, 6)))
        return " ".join(rng.choice(words.NAMES + words.CITIES) for _ in range(rng.randint(1, 4)))


def core_words(domain: Iterable[str]) -> frozenset[str]:
    """The words of the domain, with every name, city and number."""
    lists = (words.NAMES, words.CITIES, words.ONES, words.TENS, LETTERS, domain)
    return frozenset(word for listed in lists for text in listed for word in text.split())


def gather(domain_count: int, seed: int, data: Path | None) -> Sentences:
    """Everything to say. `data` is the folder of open corpora (PARLEY_DATA), or None for generated text alone."""
    return Sentences(
        domain=tuple(user_sentences(domain_count, seed, "train")),
        open=tuple(dict.fromkeys(_open_text(data))) if data else (),
        dictionary=tuple(_dictionary()),
    )


def spoken_form(text: str) -> str | None:
    """`text` as spoken words; None where it holds something whose reading is not plain (digits, symbols)."""
    text = text.lower().replace("’", "'").replace("-", " ")
    found = re.sub(r"[.,!?;:\"()]", " ", text).split()
    found = [ABBREVIATIONS.get(word, word).strip("'") if word != "'" else "" for word in found]
    joined = " ".join(word for word in found if word)
    return joined if re.fullmatch(r"[a-z' ]+", joined) else None


def train_tokenizer(sentences: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Byte-level BPE over " " + sentence, Whisper's special tokens after the text tokens, timestamps last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # Whisper decoders suppress the first token of " -", " '" and " ♩": were those not tokens of their own, that first
    # token would be the bare space, and suppressing it would suppress words. The repeats force the merges.
    forced = [" -", " '"] * 4000 + [" ♩ ♪ ♫ ♬ ♭ ♮ ♯"] * 4000
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([" " + sentence for sentence in sentences] + forced, trainer)
    tokenizer.add_special_tokens(SPECIAL + [f"<|{moment * 0.02:.2f}|>" for moment in range(MOMENTS)])
    return tokenizer


def _open_text(data: Path) -> Iterator[str]:
    """Sentences of at most 14 words under CC BY or MIT: SLURP, Home Assistant, persona chat, Taskmaster users."""
    lines: list[str] = []
    for row in _rows(data / "text/commands/en_slurp.jsonl"):
        lines.append(row["user"])
    for row in _rows(data / "text/commands/multi_home_assistant.jsonl"):
        if row["language"] == "en":
            lines.append(row["user"])
    for name in ("en_xpersona", "en_taskmaster4"):
        for row in _rows(data / f"text/dialogues/{name}.jsonl"):
            lines += [turn["text"] for turn in row["turns"] if name == "en_xpersona" or turn["role"] == "user"]
    for line in lines:
        for sentence in re.split(r"[.!?]", line or ""):
            plain = spoken_form(sentence)
            if plain and "silence" not in plain and 1 < len(plain.split()) <= 14:
                yield plain


def _dictionary() -> Iterator[str]:
    """Words of the CMU pronouncing dictionary (BSD) that PocketSphinx carries."""
    import pocketsphinx

    path = Path(pocketsphinx.get_model_path()) / "en-us/cmudict-en-us.dict"
    for line in path.read_text(encoding="utf-8").splitlines():
        word = line.split(" ", 1)[0]
        if re.fullmatch(r"[a-z]{3,10}", word):
            yield word


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
