"""The private wire between gateway and workers: JSON header, newline, PCM payload. Sans-I/O; knows no engine.

One binary WebSocket message each. Only our own processes speak it; it may change with every release, and `Hello`
refuses a peer of another version.

    recognizer   > Open  > Audio*  > Finish | Abort        < Opened | Failed   < Hypothesis*  < Heard | Failed
    synthesizer  > Speak > Abort?                          < Spoken*  < SpeechEnd | Failed
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import orjson

from app import errors
from app.audio import Pcm16
from app.errors import ParleyError, WireError, WorkerError
from app.workers.base import Transcript, Word

VERSION = 2
MAX_HEADER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Open:
    """Opens an utterance."""

    language: str
    prompt: str
    hot_words: str = ""
    word_times: bool = False
    model: str = ""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Opened:
    """The worker has a slot for it."""


@dataclass(frozen=True, slots=True)
class Audio:
    """PCM16 at HEARING_RATE as payload."""

    pcm: Pcm16


@dataclass(frozen=True, slots=True)
class Finish:
    """The utterance is over; its transcript is wanted."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop at once; nothing further is wanted."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """Interim text of the whole utterance so far."""

    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The transcript; fields as in `base.Transcript`."""

    text: str
    seconds: float
    confidence: float
    no_speech_probability: float
    engine: str
    language: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Speak:
    """Speech is wanted for a text."""

    text: str
    voice: str
    speed: float
    model: str = ""
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Spoken:
    """A chunk, PCM16 as payload; fields as in `base.SpeechChunk`."""

    sample_rate: int
    text_span: tuple[int, int]
    marks: tuple[tuple[int, int], ...]
    marks_are_estimated: bool
    pcm: Pcm16


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The text is spoken."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker's error: `kind` is its class in `app.errors`."""

    kind: str
    code: str
    message: str


WireMessage: TypeAlias = (
    Open | Opened | Audio | Finish | Abort | Hypothesis | Heard | Speak | Spoken | SpeechEnd | Failed
)
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (Open, Opened, Audio, Finish, Abort, Hypothesis, Heard, Speak, Spoken, SpeechEnd, Failed)
}


def encode(message: WireMessage) -> bytes:
    """One message to the bytes of one WebSocket message."""
    header = {field.name: getattr(message, field.name) for field in fields(message)}  # asdict copies marks one by one
    payload: bytes = header.pop("pcm", b"")
    return orjson.dumps({"is": type(message).__name__, **header}) + b"\n" + payload


def decode(data: bytes | str) -> WireMessage:
    """The message. Raises WireError for anything that is not exactly one."""
    if isinstance(data, str):
        raise WireError(f"got a text frame of {len(data)} characters, expected a binary one")
    header, newline, payload = data.partition(b"\n")
    if not newline or len(header) > MAX_HEADER_BYTES:
        raise WireError(f"got {len(data)} bytes without a header line, expected JSON and a newline first")
    try:
        values = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise WireError(f"the header is not JSON: {error}") from error
    kind = _KINDS.get(values.pop("is", "")) if isinstance(values, dict) else None
    if kind is None:
        raise WireError(f"got header {header[:80]!r}, expected one of {sorted(_KINDS)}")
    if "pcm" in {field.name for field in fields(kind)}:
        values["pcm"] = payload
    try:
        if kind is Heard:
            values["words"] = tuple(Word(**word) for word in values.get("words", ()))
        message: WireMessage = kind(**values)
    except TypeError as error:
        raise WireError(f"{kind.__name__}: {error}") from error
    if isinstance(message, Open | Speak) and message.version != VERSION:
        raise WireError(f"got wire version {message.version}, expected {VERSION}: gateway and worker differ in release")
    return message


def heard_of(transcript: Transcript) -> Heard:
    """A transcript as a message."""
    return Heard(**{field.name: getattr(transcript, field.name) for field in fields(Heard)})


def failure_of(error: ParleyError) -> Failed:
    """An error as a message."""
    return Failed(type(error).__name__, error.code, error.message)


def error_of(failed: Failed) -> ParleyError:
    """The error that a message tells of; of a class that this release does not know, a WorkerError."""
    kind = getattr(errors, failed.kind, WorkerError)
    if not (isinstance(kind, type) and issubclass(kind, ParleyError)):
        kind = WorkerError
    error: ParleyError = kind(failed.message, code=failed.code)
    return error
