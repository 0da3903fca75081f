"""PUBLIC wire types, client to service: the OpenAI Realtime GA events (protocol section 2), parsed strictly.

Knows nothing of sessions: `parse` takes a frame and gives an event, or raises BadRequest with the code, the
parameter and the event_id that the `error` event needs.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, TypeAlias

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.errors import BadRequest
from app.faults import path_of, refusal

MAX_APPEND_BYTES = 15 * 1024 * 1024  # of decoded audio in one append event; protocol section 7


class Strict(BaseModel):
    """A wire object in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClientEvent(Strict):
    """What every client event carries."""

    event_id: str | None = None


class SessionUpdate(ClientEvent):
    """Changes the session; `session` is partial and merged by `app.session_config`."""

    type: Literal["session.update"]
    session: dict[str, Any]


class AudioAppend(ClientEvent):
    """Audio in the session's input format; never answered."""

    type: Literal["input_audio_buffer.append"]
    audio: bytes


class AudioCommit(ClientEvent):
    """Ends the utterance by hand: push to talk."""

    type: Literal["input_audio_buffer.commit"]


class AudioClear(ClientEvent):
    """Forgets uncommitted audio."""

    type: Literal["input_audio_buffer.clear"]


class ItemCreate(ClientEvent):
    """Adds an item; `previous_item_id` absent: at the end, "root": at the front."""

    type: Literal["conversation.item.create"]
    item: dict[str, Any]
    previous_item_id: str | None = None


class ItemRetrieve(ClientEvent):
    """Asks for an item as the service has it."""

    type: Literal["conversation.item.retrieve"]
    item_id: str


class ItemDelete(ClientEvent):
    """Takes an item out of the conversation."""

    type: Literal["conversation.item.delete"]
    item_id: str


class ItemTruncate(ClientEvent):
    """Cuts an assistant's audio item to what the caller heard."""

    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int = Field(ge=0)
    audio_end_ms: int = Field(ge=0)


def _check_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function" or not isinstance(tool.get("name"), str) or not tool["name"]:
        raise ValueError("every tool needs type function and a name")
    if not isinstance(tool.get("parameters") or {}, dict):
        raise ValueError(f"the parameters of {tool['name']!r} must be a JSON schema, an object")
    return tool


FunctionTool: TypeAlias = Annotated[dict[str, Any], AfterValidator(_check_tool)]
MetadataKey: TypeAlias = Annotated[str, Field(max_length=64)]
MetadataValue: TypeAlias = Annotated[str, Field(max_length=512)]


class ResponseOptions(BaseModel):
    """What one response may do differently from the session; keys of later protocol versions are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    output_modalities: list[Literal["text", "audio"]] | None = None
    instructions: str | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["auto", "none", "required"] | dict[str, Any] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | Literal["inf"] | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    conversation: Literal["auto", "none"] = "auto"
    input: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None


class ResponseCreate(ClientEvent):
    """Asks for a reply."""

    type: Literal["response.create"]
    response: ResponseOptions = ResponseOptions()


class ResponseCancel(ClientEvent):
    """Stops the running reply."""

    type: Literal["response.cancel"]
    response_id: str | None = None


Event: TypeAlias = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def parse(frame: str | bytes) -> Event:
    """One text frame to one event. Raises BadRequest, with `event_id` where the frame gave one."""
    try:
        fields = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the frame is not JSON: {error}", code="invalid_json") from error
    if not isinstance(fields, dict):
        raise BadRequest(f"an event is a JSON object, got {type(fields).__name__}", code="invalid_event")
    try:
        if not isinstance(fields.get("type"), str):
            raise BadRequest("an event needs a `type` that is a string", code="invalid_event", param="type")
        if fields["type"] == "input_audio_buffer.append":
            fields["audio"] = _decode_audio(fields.get("audio"))
        return _EVENT.validate_python(fields)
    except ValidationError as error:
        refused = explain(error, skip=1)
        refused.event_id = _event_id(fields)
        raise refused from error
    except BadRequest as refused:
        refused.event_id = _event_id(fields)
        raise


def explain(error: ValidationError, *, prefix: str = "", skip: int = 0) -> BadRequest:
    """The first fault of a validation as one BadRequest; `skip` leading parts of its path are the union's tag."""
    faults = error.errors(include_url=False)
    fault = faults[0]
    if fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        if not fault["loc"]:
            return BadRequest(f"unknown event type {fault['input'].get('type')!r}", param="type")
        path = ".".join(filter(None, (prefix, path_of(fault["loc"][skip:]), "type")))
        known = fault.get("ctx", {}).get("expected_tags", "a type")
        got = fault["input"].get("type") if isinstance(fault["input"], dict) else fault["input"]
        return BadRequest(f"{path}: got {got!r}, expected one of {known}", param=path)
    return refusal(faults, prefix=prefix, skip=skip)


def _decode_audio(value: Any) -> bytes:
    if value is None:
        raise BadRequest("audio is missing", code="missing_required_parameter", param="audio")
    if not isinstance(value, str):
        raise BadRequest(f"audio must be base64 text, got {type(value).__name__}", param="audio")
    try:
        audio = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"audio is not base64: {error}", param="audio") from error
    if len(audio) > MAX_APPEND_BYTES:
        raise BadRequest(f"got {len(audio)} bytes of audio, at most {MAX_APPEND_BYTES} fit one event", param="audio")
    return audio


def _event_id(fields: dict[str, Any]) -> str | None:
    event_id = fields.get("event_id")
    return event_id if isinstance(event_id, str) else None
