"""Names that stock clients hard-code, and which pack or voice they mean here. Knows no pack beyond its name.

Source: the defaults of openai-python 3.51.0 and of the agents that dial OpenAI (models and voices lists of its API).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from app.errors import UnknownModel

OPENAI_MODELS = ("gpt-realtime*", "gpt-audio*", "gpt-transcribe*", "gpt-4*", "gpt-5*", "whisper-1", "tts-1*")
"""A client that names one of these wants whatever is served: it asks for a stage, not for those weights."""

OPENAI_VOICES = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""Spoken with the pack's default voice."""


def serves(model: str, pack_name: str) -> bool:
    """Whether a request for `model` is meant for this pack: its name, an OpenAI alias, or no name at all."""
    return model in ("", pack_name) or any(fnmatchcase(model, alias) for alias in OPENAI_MODELS)


def check_model(model: str, pack_name: str) -> None:
    """Raises UnknownModel, naming what is served, when `model` is not."""
    if not serves(model, pack_name):
        raise UnknownModel(f"The model {model!r} is not served here; there is: {pack_name}", param="model")


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
