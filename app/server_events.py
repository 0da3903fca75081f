"""PUBLIC wire types, service to client: one frozen class an event (protocol section 3), and its JSON.

Items, responses and sessions inside them are plain JSON objects, built by `conversation`, `response` and
`session_config`. Knows nothing of what makes an event happen.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

import orjson

Json: TypeAlias = dict[str, Any]


def new_id(prefix: str) -> str:
    """A fresh id such as `item_3f9c...`: 24 random hex digits, so that call ids stay within 32 characters."""
    return f"{prefix}_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """What every server event is: a type, and fields that are dumped as they stand."""

    type: ClassVar[str]

    def dump(self) -> str:
        """The JSON text frame, with a fresh event_id."""
        body: Json = {"type": self.type, "event_id": new_id("event")}
        body.update({f.name: getattr(self, f.name) for f in fields(self)})
        return orjson.dumps(body).decode()


@dataclass(frozen=True, slots=True)
class SessionCreated(ServerEvent):
    """The first frame of every session."""

    type: ClassVar[str] = "session.created"
    session: Json


@dataclass(frozen=True, slots=True)
class SessionUpdated(ServerEvent):
    """The whole effective session after a session.update."""

    type: ClassVar[str] = "session.updated"
    session: Json


@dataclass(frozen=True, slots=True)
class ItemAdded(ServerEvent):
    """`previous_item_id` is null for the first item alone; anything else there reorders histories in clients."""

    type: ClassVar[str] = "conversation.item.added"
    previous_item_id: str | None
    item: Json


@dataclass(frozen=True, slots=True)
class ItemDone(ServerEvent):
    """The item is whole, or as whole as it will be."""

    type: ClassVar[str] = "conversation.item.done"
    previous_item_id: str | None
    item: Json


@dataclass(frozen=True, slots=True)
class ItemRetrieved(ServerEvent):
    """The item as the service has it."""

    type: ClassVar[str] = "conversation.item.retrieved"
    item: Json


@dataclass(frozen=True, slots=True)
class ItemDeleted(ServerEvent):
    """The item is out of the conversation."""

    type: ClassVar[str] = "conversation.item.deleted"
    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncated(ServerEvent):
    """The item now holds only what was heard."""

    type: ClassVar[str] = "conversation.item.truncated"
    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class TranscriptionDelta(ServerEvent):
    """Further words of the caller, also while the caller speaks."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.delta"
    item_id: str
    content_index: int
    delta: str


@dataclass(frozen=True, slots=True)
class TranscriptionCompleted(ServerEvent):
    """The caller's words; empty for silence. openai-agents needs `usage`."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.completed"
    item_id: str
    content_index: int
    transcript: str
    usage: Json


@dataclass(frozen=True, slots=True)
class TranscriptionFailed(ServerEvent):
    """The recognizer failed; the audio stays committed."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.failed"
    item_id: str
    content_index: int
    error: Json


@dataclass(frozen=True, slots=True)
class SpeechStarted(ServerEvent):
    """Offset in all audio of the session, prefix padding included."""

    type: ClassVar[str] = "input_audio_buffer.speech_started"
    item_id: str
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped(ServerEvent):
    """Offset in all audio of the session."""

    type: ClassVar[str] = "input_audio_buffer.speech_stopped"
    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class AudioCommitted(ServerEvent):
    """The utterance is an item now."""

    type: ClassVar[str] = "input_audio_buffer.committed"
    item_id: str
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class TimeoutTriggered(ServerEvent):
    """The caller said nothing for `idle_timeout_ms` after the last reply; offsets in all audio of the session."""

    type: ClassVar[str] = "input_audio_buffer.timeout_triggered"
    item_id: str
    audio_start_ms: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class AudioCleared(ServerEvent):
    """Uncommitted audio is forgotten."""

    type: ClassVar[str] = "input_audio_buffer.cleared"


@dataclass(frozen=True, slots=True)
class ResponseCreated(ServerEvent):
    """A reply begins."""

    type: ClassVar[str] = "response.created"
    response: Json


@dataclass(frozen=True, slots=True)
class ResponseDone(ServerEvent):
    """A reply is over, exactly once each."""

    type: ClassVar[str] = "response.done"
    response: Json


@dataclass(frozen=True, slots=True)
class OutputItemAdded(ServerEvent):
    """An item of the reply begins."""

    type: ClassVar[str] = "response.output_item.added"
    response_id: str
    output_index: int
    item: Json


@dataclass(frozen=True, slots=True)
class OutputItemDone(ServerEvent):
    """An item of the reply is over."""

    type: ClassVar[str] = "response.output_item.done"
    response_id: str
    output_index: int
    item: Json


@dataclass(frozen=True, slots=True)
class ContentPartAdded(ServerEvent):
    """`part` is of type `audio` or `text`, never `output_*`: agents-js and openai-agents depend on it."""

    type: ClassVar[str] = "response.content_part.added"
    response_id: str
    output_index: int
    item_id: str
    content_index: int
    part: Json


@dataclass(frozen=True, slots=True)
class ContentPartDone(ServerEvent):
    """The part is over."""

    type: ClassVar[str] = "response.content_part.done"
    response_id: str
    output_index: int
    item_id: str
    content_index: int
    part: Json


@dataclass(frozen=True, slots=True)
class AudioDelta(ServerEvent):
    """Base64 audio in the session's output format."""

    type: ClassVar[str] = "response.output_audio.delta"
    response_id: str
    output_index: int
    item_id: str
    content_index: int
    delta: str


@dataclass(frozen=True, slots=True)
class AudioDone(ServerEvent):
    """No further audio of this part."""

    type: ClassVar[str] = "response.output_audio.done"
    response_id: str
    output_index: int
    item_id: str
    content_index: int


@dataclass(frozen=True, slots=True)
class AudioTranscriptDelta(ServerEvent):
    """Further words of the reply, with the audio that speaks them."""

    type: ClassVar[str] = "response.output_audio_transcript.delta"
    response_id: str
    output_index: int
    item_id: str
    content_index: int
    delta: str


@dataclass(frozen=True, slots=True)
class AudioTranscriptDone(ServerEvent):
    """Equals the concatenated deltas."""

    type: ClassVar[str] = "response.output_audio_transcript.done"
    response_id: str
    output_index: int
    item_id: str
    content_index: int
    transcript: str


@dataclass(frozen=True, slots=True)
class TextDelta(ServerEvent):
    """Further words of a written reply."""

    type: ClassVar[str] = "response.output_text.delta"
    response_id: str
    output_index: int
    item_id: str
    content_index: int
    delta: str


@dataclass(frozen=True, slots=True)
class TextDone(ServerEvent):
    """Equals the concatenated deltas."""

    type: ClassVar[str] = "response.output_text.done"
    response_id: str
    output_index: int
    item_id: str
    content_index: int
    text: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta(ServerEvent):
    """Further characters of a function call's arguments."""

    type: ClassVar[str] = "response.function_call_arguments.delta"
    response_id: str
    output_index: int
    item_id: str
    call_id: str
    delta: str


@dataclass(frozen=True, slots=True)
class ArgumentsDone(ServerEvent):
    """The whole arguments."""

    type: ClassVar[str] = "response.function_call_arguments.done"
    response_id: str
    output_index: int
    item_id: str
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Error(ServerEvent):
    """One refused client event; the session is as it was before."""

    type: ClassVar[str] = "error"
    error: Json


@dataclass(frozen=True, slots=True)
class SpeechSuspected(ServerEvent):
    """Ours, not part of the OpenAI API; sent only where the session sets `back_channels: true`.

    Something is said over the reply. Within 0.6 s of speech, speech_started or SpeechDismissed follows.
    """

    type: ClassVar[str] = "parley.speech.suspected"
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechDismissed(ServerEvent):
    """Ours, like SpeechSuspected: it was a back-channel, and the reply goes on."""

    type: ClassVar[str] = "parley.speech.dismissed"
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class TurnTimings(ServerEvent):
    """Ours, not part of the OpenAI API; sent only where the URL asks for it with `parley_timings=true`.

    Consecutive stages of one turn in milliseconds; all but `endpoint_wait_ms` add up to end of speech to first
    audio. The first two are null for a turn that was typed.
    """

    type: ClassVar[str] = "parley.turn.timings"
    response_id: str
    item_id: str
    endpoint_wait_ms: float | None
    recognizer_ms: float | None
    first_token_ms: float
    first_clause_ms: float
    first_audio_ms: float
