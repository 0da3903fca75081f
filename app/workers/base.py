"""The seams of the cascade: what a stage is asked and what it answers. Knows no engine and no transport.

A stage's model is shared by all callers; what belongs to one utterance or reply is its own object or iterator.
Closing an async iterator (`aclose`) cancels the work behind it at once, on every transport.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypedDict

from app.audio import Pcm16

Message: TypeAlias = Mapping[str, Any]
"""One OpenAI chat message: role, content, and for tools tool_calls or tool_call_id."""

Tool: TypeAlias = Mapping[str, Any]
"""One OpenAI chat tool: {"type": "function", "function": {"name", "description", "parameters"}}."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a transcript, and when it was said."""

    text: str
    start_s: float
    """Seconds from the start of the utterance's audio."""
    end_s: float
    probability: float
    """0..1, as the engine sees it."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What one utterance was heard to say."""

    text: str
    """Empty when nothing was said: silence and noise give no words."""
    seconds: float
    """Duration of the audio that was heard."""
    confidence: float = 1.0
    """Geometric mean probability of the tokens, 0..1; comparable only within one engine."""
    no_speech_probability: float = 0.0
    """0..1: how sure the engine is that nobody spoke."""
    engine: str = ""
    """Which engine the words came from, for instance `whisper` or `pocketsphinx`."""
    language: str = ""
    """BCP 47 tag of the utterance."""
    words: tuple[Word, ...] = ()
    """Only where `word_times` was asked for and the engine can tell."""


class Recognition(Protocol):
    """One utterance of one caller; never shared. Exactly one of `finish` and `abort` ends it."""

    def feed(self, frame: Pcm16) -> None:
        """Takes PCM16 at HEARING_RATE, any length; returns at once, never waiting for a decoder."""

    def hypotheses(self) -> AsyncIterator[str]:
        """Interim texts of the whole utterance so far, as often as the load allows; ends with the utterance.

        Raises WorkerError where the worker is lost before that.
        """

    async def finish(self) -> Transcript:
        """Ends the utterance and gives its transcript. Raises WorkerError."""

    async def abort(self) -> None:
        """Frees the slot at once; the utterance is forgotten. May be called after a failure, and twice."""


class Asked(TypedDict, total=False):
    """The options of `Recognizer.start`, for those who pass them on as they are."""

    language: str
    prompt: str
    hot_words: str
    word_times: bool
    model: str


class Recognizer(Protocol):
    """Speech to text."""

    async def start(
        self,
        *,
        language: str = "",
        prompt: str = "",
        hot_words: str = "",
        word_times: bool = False,
        model: str = "",
    ) -> Recognition:
        """Opens an utterance. Raises WorkerBusy when every slot is taken, UnknownModel.

        `prompt` is text that came before, `hot_words` are words to expect, `model` names a pack (NAME or
        NAME@VERSION; empty: the worker's own). An engine that has no use for one of them ignores it.
        """

    async def health(self) -> Health:
        """Whether the engine can take an utterance now. Raises WorkerUnavailable."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One completion to write."""

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    tool_choice: str | Mapping[str, Any] = "auto"
    """auto, none, required, or {"type": "function", "function": {"name": NAME}}."""
    model: str = ""
    """A pack, NAME or NAME@VERSION; empty: the worker's own."""
    base_sha256: str = ""
    """Hash of the base that the pack's adapter was trained on; empty: any server will do."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next words of the reply; concatenated deltas are the reply."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole function call. `arguments` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one completion; the last part of every reply. `finish_reason` as in OpenAI chat."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"


ReplyPart: TypeAlias = TextDelta | ToolCall | Usage


class LanguageModel(Protocol):
    """Messages to reply."""

    def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """Deltas and tool calls as they are written, then one Usage. Raises WorkerError, BadRequest."""

    async def health(self) -> Health:
        """Whether a reply can be written now. Raises WorkerUnavailable."""


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of speech and where in the text it stands."""

    pcm: Pcm16
    """PCM16 at `sample_rate`, mono."""
    sample_rate: int
    """Hertz."""
    text_span: tuple[int, int]
    """Characters [start, end) of the text given to `speak` that this chunk speaks."""
    marks: tuple[tuple[int, int], ...] = ()
    """(character, sample): by `sample` of this chunk, the text before `character` has been spoken; ascending."""
    marks_are_estimated: bool = False
    """True where the engine has no timing and the marks are in proportion to the text's length."""


class Synthesizer(Protocol):
    """Text to speech."""

    def speak(self, text: str, *, voice: str = "", speed: float = 1.0, model: str = "") -> AsyncIterator[SpeechChunk]:
        """Speech of one clause or text, in order, as it is ready; `model` as in `Recognizer.start`.

        Raises WorkerError, UnknownModel for a voice or model.
        """

    async def health(self) -> Health:
        """Whether speech can be made now. Raises WorkerUnavailable."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a worker says of itself."""

    stage: str
    """recognizer, language or synthesizer."""
    engine: str
    model: str
    """Name of the pack or model that it serves."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """Engine-specific facts: voices, sample rate, slots in use and in all."""
