"""Texts to the tokens that a Whisper reads and writes, with its prompt: which language, which task. Knows no audio.

The prompt is the one that the service gives, so that what is trained is what is asked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from app.workers.whisper_decoder import whisper_code
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.data.spelling import tokenizer as speller
from finetune.errors import ConfigError
from finetune.evaluate.normal import base_language

IGNORED = -100
"""Label that cross-entropy leaves out."""
Task: TypeAlias = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class Target:
    """One clip's tokens."""

    given: tuple[int, ...]
    """What the decoder reads [L]: the prompt and the text."""
    expected: tuple[int, ...]
    """What it learns to write after each of them [L]."""


class Encoder:
    """A Whisper's vocabulary."""

    def __init__(
        self, tokenizer: Any, multilingual: bool, text: str, stand_ins: Mapping[str, str] | None = None
    ) -> None:
        """`tokenizer` is one of the library tokenizers; `stand_ins`: language to the code whose token stands for it."""
        self._tokenizer = tokenizer
        self._multilingual = multilingual
        self._form = text
        self._stand_ins = dict(stand_ins or {})
        self.end = self._id("<|endoftext|>")
        self.start = self._id("<|startoftranscript|>")
        self.no_times = self._id("<|notimestamps|>")
        known = (tokenizer.token_to_id(name) for name in ("<|nospeech|>", "<|nocaptions|>"))
        self.no_speech = next((token for token in known if token is not None), None)

    def prompt(self, language: str, task: Task = "transcribe") -> list[int]:
        """Tokens before the text, for a BCP 47 tag. Raises DataError for a language without a token."""
        if not self._multilingual:
            return [self.start, self.no_times]
        code = self._stand_ins.get(base_language(language), whisper_code(language))
        token = self._tokenizer.token_to_id(f"<|{code}|>")
        if token is None:
            raise DataError(
                f"got a clip in {language!r}, for which the recognizer has no token, expected one that it has"
            )
        return [self.start, token, self._id(f"<|{task}|>"), self.no_times]

    def written(self, text: str) -> str:
        """A row's text as it is learnt."""
        return written(text, self._form)

    def target(self, row: Utterance, task: Task = "transcribe") -> Target:
        """Nobody speaks where there is no text: the first token says so, as in Whisper's own training."""
        prompt = self.prompt(row.language, task)
        text = self.written(row.translation if task == "translate" else row.text)
        if not text:
            first = IGNORED if self.no_speech is None else self.no_speech
            return Target(tuple(prompt), (first, *[IGNORED] * (len(prompt) - 2), self.end))
        # A space before the text, as Whisper writes it; the service takes it away.
        ids = [*prompt, *self._tokenizer.encode(" " + text, add_special_tokens=False).ids, self.end]
        return Target(tuple(ids[:-1]), tuple(ids[1:]))

    def text_of(self, tokens: Sequence[int]) -> str:
        """What the service makes of tokens."""
        text: str = self._tokenizer.decode([token for token in tokens if token < self.end])
        return text.strip()

    def _id(self, name: str) -> int:
        token: int | None = self._tokenizer.token_to_id(name)
        if token is None:
            raise ConfigError(f"base: its vocabulary has no {name}, expected that of a Whisper")
        return token


def written(text: str, form: str) -> str:
    """A text as it is learnt in the configuration's form, kept or words."""
    return words_of(text) if form == "words" else " ".join(unicodedata.normalize("NFC", text).split())


def words_of(text: str) -> str:
    """Lower-case words with apostrophes within them, without any other sign."""
    letters = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in letters)
    return " ".join(re.sub(r"(?<!\w)'+|'+(?!\w)", " ", kept).split())


def check_spelling(folder: Path, texts: Iterable[str], form: str) -> None:
    """Raises DataError naming characters that the tokenizer in a folder cannot write."""
    uncovered = speller("recognizer", folder).uncovered(written(text, form) for text in texts)
    if uncovered:
        named = ", ".join(f"{letter} ({count} times)" for letter, count in uncovered.most_common(20))
        raise DataError(
            f"the recognizer's vocabulary cannot spell {named}; expected texts without these, or text=words"
        )
