"""*What was said*: items of the conversation, chat messages made of them, truncation to the words heard.

Knows nothing of audio, time or who is speaking. Items have the shape of protocol section 3.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from app.errors import BadRequest
from app.server_events import new_id
from app.workers.base import Message

Json: TypeAlias = dict[str, Any]

MAX_ITEMS = 2000  # a conversation of an hour has a few hundred; a client that floods gets an error instead of memory
_TEXT_PARTS = {"text", "input_text", "output_text"}
_AUDIO_PARTS = {"audio", "input_audio", "output_audio"}


@dataclass(slots=True)
class Item:
    """One item; `content` and the function fields are mutable while it is being spoken or transcribed."""

    id: str
    type: str
    """message, function_call or function_call_output."""
    role: str = ""
    status: str = "completed"
    content: list[Json] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    output: str = ""
    hidden: list[Message] = field(default_factory=list)
    """Calls of the service's own tools and their results, which came before this answer: for the model's eyes only,
    since a client that did not declare a tool treats its call as an error."""
    audio: bytes = b""
    """Of a client's item that came with audio: its bytes as they were sent, until they are transcribed."""
    audio_ms: int = 0
    """Assistant audio handed to the caller, in whole milliseconds."""
    marks: list[tuple[int, float]] = field(default_factory=list)
    """(character, ms): by `ms` of the item's audio, the transcript before `character` has been spoken."""

    def dump(self) -> Json:
        """As JSON; absent fields are left out, never null."""
        if self.type == "function_call":
            body: Json = {"name": self.name, "call_id": self.call_id, "arguments": self.arguments}
        elif self.type == "function_call_output":
            body = {"call_id": self.call_id, "output": self.output}
        else:
            body = {"role": self.role, "content": [dict(part) for part in self.content]}
        return {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status, **body}

    @property
    def text(self) -> str:
        """All words of a message, typed or spoken."""
        return " ".join(filter(None, (part.get("text") or part.get("transcript") for part in self.content)))


class Conversation:
    """Items in order. Every refusal is a BadRequest and leaves the conversation as it was."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def __iter__(self) -> Any:
        return iter(self._items)

    def previous_id(self, item: Item) -> str | None:
        """Id of the item before, null for the first."""
        index = self._items.index(item)
        return self._items[index - 1].id if index else None

    @property
    def tail_id(self) -> str | None:
        """Id of the last item."""
        return self._items[-1].id if self._items else None

    def get(self, item_id: str, verb: str) -> Item:
        """The item. Raises BadRequest with the code that clients test for `verb` (retrieve, delete, truncate)."""
        for item in self._items:
            if item.id == item_id:
                return item
        code = f"item_{verb}_invalid_item_id"
        raise BadRequest(f"there is no item {item_id!r} in the conversation", code=code, param="item_id")

    def append(self, item: Item) -> str | None:
        """Adds an item of the service's own at the end; gives the previous id."""
        previous = self.tail_id
        self._items.append(item)
        return previous

    def create(self, fields: Json, previous_item_id: str | None) -> Item:
        """Adds a client's item. Raises BadRequest."""
        item = parse_item(fields)
        if len(self._items) >= MAX_ITEMS:
            raise BadRequest(f"the conversation has {len(self._items)} items, the limit is {MAX_ITEMS}")
        if any(item.id == other.id for other in self._items):
            raise BadRequest(
                f"there is an item {item.id!r} already", code="item_create_duplicate_item_id", param="item.id"
            )
        if item.type == "function_call_output" and not any(
            other.type == "function_call" and other.call_id == item.call_id for other in self._items
        ):
            raise BadRequest(f"no function call has the call_id {item.call_id!r}", param="item.call_id")
        if previous_item_id is None:
            self._items.append(item)
        elif previous_item_id == "root":
            self._items.insert(0, item)
        else:
            for index, other in enumerate(self._items):
                if other.id == previous_item_id:
                    self._items.insert(index + 1, item)
                    break
            else:
                raise BadRequest(f"there is no item {previous_item_id!r} to insert after", param="previous_item_id")
        return item

    def delete(self, item_id: str) -> None:
        """Takes an item out. Raises BadRequest."""
        self._items.remove(self.get(item_id, "delete"))

    def check_truncation(self, item_id: str, content_index: int, audio_end_ms: int) -> Item:
        """The item, if it can be cut so: an assistant's, with audio up to there. Raises BadRequest.

        A client's clock and ours differ a little, so up to 100 ms beyond the audio is taken for its end: pipecat ends
        its session on the error.
        """
        item = self.get(item_id, "truncate")
        if item.role != "assistant" or not 0 <= content_index < len(item.content):
            raise BadRequest(
                f"only an assistant's audio can be truncated, got item {item_id!r}, content_index {content_index}",
                code="item_truncate_invalid_item_id",
                param="item_id",
            )
        part = item.content[content_index]
        if part["type"] not in _AUDIO_PARTS:
            raise BadRequest(f"content {content_index} of item {item_id!r} is not audio", param="content_index")
        if audio_end_ms > item.audio_ms + 100:
            raise BadRequest(
                f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms", param="audio_end_ms"
            )
        return item

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> Item:
        """Cuts an assistant's audio item to the words heard by `audio_end_ms`. Raises BadRequest."""
        item = self.check_truncation(item_id, content_index, audio_end_ms)
        part = item.content[content_index]
        part["transcript"] = words_heard(part["transcript"], item.marks, audio_end_ms)
        item.audio_ms = min(item.audio_ms, audio_end_ms)
        item.marks = [mark for mark in item.marks if mark[1] <= audio_end_ms]
        return item

    def messages(self, instructions: str, user_text: Callable[[str], str] = str) -> list[Message]:
        """The conversation as OpenAI chat messages: one system message first, then turns.

        `user_text` puts a caller's words into the form that the model was trained on. Strict chat templates refuse a
        system message in the middle, so all of them go to the front.
        """
        return messages_of(self._items, instructions, user_text)


def messages_of(items: list[Item], instructions: str, user_text: Callable[[str], str] = str) -> list[Message]:
    """As `Conversation.messages`, for any list of items."""
    system = [instructions] if instructions else []
    turns: list[Message] = []
    for item in items:
        if item.type == "function_call":
            call = {
                "id": item.call_id,
                "type": "function",
                "function": {"name": item.name, "arguments": item.arguments},
            }
            if turns and turns[-1].get("tool_calls") and turns[-1]["role"] == "assistant":
                turns[-1]["tool_calls"].append(call)
            else:
                turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif item.type == "function_call_output":
            turns.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
        elif item.role in ("system", "developer"):
            system.append(item.text)
        elif item.text or item.hidden:
            turns.extend(item.hidden)
            if item.text:
                text = user_text(item.text) if item.role == "user" else item.text
                turns.append({"role": item.role, "content": text})
    head: list[Message] = [{"role": "system", "content": "\n".join(system)}] if system else []
    return head + turns


def parse_item(fields: Json) -> Item:
    """A client's item, liberally: any text part in any role, missing status. Raises BadRequest with `param`."""
    kind = fields.get("type")
    item_id = fields.get("id") or new_id("item")
    if not isinstance(item_id, str) or len(item_id) > 128:
        raise BadRequest("item.id must be a string of at most 128 characters", param="item.id")
    if kind == "function_call_output":
        return Item(item_id, kind, call_id=_string(fields, "call_id"), output=_string(fields, "output"))
    if kind == "function_call":
        call_id = fields.get("call_id") or new_id("call")
        return Item(
            item_id, kind, call_id=call_id, name=_string(fields, "name"), arguments=_string(fields, "arguments")
        )
    if kind != "message":
        raise BadRequest(
            f"item.type must be message, function_call or function_call_output, got {kind!r}", param="item.type"
        )
    role = fields.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        raise BadRequest(f"item.role must be user, assistant or system, got {role!r}", param="item.role")
    parts = fields.get("content")
    if not isinstance(parts, list):
        raise BadRequest("item.content must be a list of parts", param="item.content")
    content = [_part(part, role, n) for n, part in enumerate(parts)]
    audio = b"".join(_audio(part, n) for n, part in enumerate(parts)) if role == "user" else b""
    return Item(item_id, kind, role=role, content=content, audio=audio)


def _part(part: Any, role: str, number: int) -> Json:
    where = f"item.content.{number}"
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXT_PARTS:
        return {"type": "output_text" if role == "assistant" else "input_text", "text": _string(part, "text", where)}
    if kind in _AUDIO_PARTS:
        transcript = part.get("transcript")
        if transcript is not None and not isinstance(transcript, str):
            raise BadRequest(f"{where}.transcript must be a string, got {transcript!r}", param=f"{where}.transcript")
        if role == "assistant":
            return {"type": "output_audio", "transcript": transcript or ""}
        return {"type": "input_audio", "transcript": transcript}
    if kind == "input_image":
        return {
            "type": "input_image"
        }  # kept in place; the cascade has no eyes, and an error would end a pipecat session
    raise BadRequest(
        f"{where}.type must be input_text, input_audio or output_text, got {kind!r}", param=f"{where}.type"
    )


def _audio(part: Json, number: int) -> bytes:
    """Audio whose words the client does not tell."""
    encoded = part.get("audio")
    if part["type"] not in _AUDIO_PARTS or part.get("transcript") or encoded is None:
        return b""
    where = f"item.content.{number}.audio"
    try:
        return base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError) as error:
        raise BadRequest(f"{where} is not base64: {error}", param=where) from error


def _string(fields: Json, key: str, where: str = "item") -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        code = "missing_required_parameter" if value is None else "invalid_value"
        raise BadRequest(f"{where}.{key} must be a string, got {value!r}", code=code, param=f"{where}.{key}")
    return value


def words_heard(transcript: str, marks: list[tuple[int, float]], heard_ms: float) -> str:
    """The words of a transcript that were spoken by `heard_ms`: whole words only, as marks tell."""
    characters = max((character for character, ms in marks if ms <= heard_ms), default=0)
    if characters >= len(transcript):
        return transcript
    rest = re.split(r"\s", transcript[characters:], maxsplit=1)[0]
    if not any(map(str.isalnum, rest)):
        characters += len(rest)  # a full stop takes no time
    elif not transcript[max(0, characters - 1)].isspace():
        characters = transcript.rfind(" ", 0, characters) + 1  # the mark fell inside of a word: it was not heard whole
    return transcript[:characters].rstrip()
