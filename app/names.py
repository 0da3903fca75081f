"""Names that stock clients hard-code, and which pack or voice they mean here. Knows no pack beyond its name.

Source: the defaults of openai-python 3.51.0 and of the agents that dial OpenAI (models and voices lists of its API).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from app.errors import UnknownModel

OPENAI_MODELS = ("gpt-realtime*", "gpt-audio*", "gpt-transcribe*", "gpt-4*", "gpt-5*", "whisper-1", "tts-1*")
"""A client that names one of these wants whatever is served: it asks for a stage, not for those weights."""

OPENAI_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""Spoken with the pack's default voice."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the stages are told of the pack that a request means."""

    model: str
    """Its name, with its version where packs lie in versions."""
    voices: tuple[str, ...] = ()
    """The default first; none: the worker decides."""
    base_sha256: str = ""
    """Hash of the base that its language model needs; empty: it needs none in particular."""


class Models(Protocol):
    """What a process serves, by the names that requests use."""

    def served(self, model: str) -> Served:
        """What `model` means. Raises UnknownModel, naming what is served."""

    def names(self) -> list[str]:
        """Every name that is no alias."""

    def about(self, name: str) -> Mapping[str, object]:
        """What a menu says of one of them, besides its name; empty where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Only:
    """One model, whatever alias it is asked for by."""

    name: str
    voices: tuple[str, ...] = ()

    def served(self, model: str) -> Served:
        """The one. Raises UnknownModel for another's name."""
        if not is_alias(model) and model != self.name:
            raise unknown(model, self.names())
        return Served(self.name, self.voices)

    def names(self) -> list[str]:
        """Its name."""
        return [self.name]

    def about(self, name: str) -> Mapping[str, object]:
        """Nothing."""
        return {}


def is_alias(model: str) -> bool:
    """Whether a name stands for the default pack: an OpenAI model, or no name at all."""
    return not model or any(fnmatchcase(model, alias) for alias in OPENAI_MODELS)


def unknown(model: str, names: Sequence[str]) -> UnknownModel:
    """The error for a name that is not served."""
    there_is = ", ".join(names) or "none"
    return UnknownModel(f"The model {model!r} is not served here; there is: {there_is}", param="model")


def voice_of(name: str, voices: Sequence[str]) -> str:
    """The pack's voice that `name` means: itself, or the default for an OpenAI name or none. Raises UnknownModel.

    `voices` has the default first; when it is empty the worker decides, and the name passes through.
    """
    if name in voices:
        return name
    if not name or name in OPENAI_VOICES:
        return voices[0] if voices else ""
    if not voices:
        return name
    raise UnknownModel(f"There is no voice {name!r} here; there are: {', '.join(voices)}", param="voice")
