"""What a manifest's line holds: an utterance, a dialogue, or a word of a lexicon. Knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SPLITS = ("train", "dev", "test")
ROLES = ("system", "user", "assistant", "tool")
ALPHABETS = ("arpabet", "ipa")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording, or a part of one, and what is said in it."""

    id: str
    """Unique in its manifest."""
    audio: str
    """Path, relative to the manifest's folder."""
    text: str
    language: str
    """BCP 47."""
    speaker: str
    """A label; no name is needed, and none is better."""
    duration_s: float
    """Seconds; 0 where the audio could not be read."""
    source: str
    """Where it comes from, in words or as a URL."""
    licence: str
    """SPDX, or the licence's own name; empty: nobody has said."""
    consent: str
    """What the speaker agreed to; empty: nobody has said."""
    split: str = ""
    """train, dev or test; empty: not split yet."""
    gender: str = ""
    accent: str = ""
    start_s: float = 0.0
    """Where in the file the utterance starts."""
    end_s: float | None = None
    """Where in the file it ends; None: with the file."""
    translation: str = ""
    """The same in English, for a recognizer that learns to translate."""

    def __post_init__(self) -> None:
        _expect(self.split in ("", *SPLITS), "split", self.split, f"one of {', '.join(SPLITS)}, or nothing")
        _expect(self.duration_s >= 0, "duration_s", self.duration_s, "seconds, 0 or more")
        _expect(self.start_s >= 0, "start_s", self.start_s, "seconds, 0 or more")
        _expect(self.end_s is None or self.end_s > self.start_s, "end_s", self.end_s, "more than start_s")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a dialogue."""

    role: str
    """system, user, assistant or tool."""
    text: str
    speaker: str = ""
    """Who spoke, where several people share a role."""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    """OpenAI tool calls of an assistant: {"id", "type": "function", "function": {"name", "arguments"}}."""
    tool_call_id: str = ""
    """Of a tool's answer: which call it answers."""

    def __post_init__(self) -> None:
        _expect(self.role in ROLES, "role", self.role, f"one of {', '.join(ROLES)}")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One conversation."""

    id: str
    language: str
    turns: tuple[Turn, ...]
    source: str
    licence: str
    consent: str
    split: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    """OpenAI tool schemas that the assistant could use."""

    def __post_init__(self) -> None:
        _expect(self.split in ("", *SPLITS), "split", self.split, f"one of {', '.join(SPLITS)}, or nothing")
        _expect(bool(self.turns), "turns", self.turns, "at least one")


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """One way to say a word."""

    word: str
    phones: tuple[str, ...]
    alphabet: str
    """arpabet or ipa."""
    language: str
    source: str
    licence: str
    variant: int = 1
    """1 is the usual one."""

    def __post_init__(self) -> None:
        _expect(self.alphabet in ALPHABETS, "alphabet", self.alphabet, f"one of {', '.join(ALPHABETS)}")
        _expect(bool(self.phones), "phones", self.phones, "at least one")


def speakers_of(row: Utterance | Dialogue) -> list[str]:
    """Labels of those who spoke or wrote it; of a dialogue, those whom its turns name."""
    if isinstance(row, Utterance):
        return [row.speaker]
    return sorted({turn.speaker for turn in row.turns} - {""})


def _expect(right: bool, field: str, got: object, expected: str) -> None:
    if not right:
        raise ValueError(f"{field}: got {got!r}, expected {expected}")
