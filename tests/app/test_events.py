"""The public wire: every event class is found and dumped or parsed, every refusal has its code and parameter."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from app import events, server_events
from app.errors import BadRequest

SERVER_EVENTS = [kind for kind in vars(server_events).values() if isinstance(kind, type) and hasattr(kind, "type")]
CLIENT_EVENTS = get_args(events.Event)
VALUES: dict[str, Any] = {
    "session": {}, "audio": base64.b64encode(b"ab").decode(), "item": {"type": "message"}, "item_id": "item_1",
    "content_index": 0, "audio_end_ms": 10,
}  # fmt: skip


@pytest.mark.parametrize("kind", SERVER_EVENTS)
def test_every_server_event_dumps_its_type_an_id_and_all_its_fields(kind: type[server_events.ServerEvent]) -> None:
    fields = [field.name for field in dataclasses.fields(kind)]
    dumped = json.loads(kind(**dict.fromkeys(fields, "x")).dump())
    assert dumped.pop("type") == kind.type
    assert dumped.pop("event_id").startswith("event_")
    assert dumped == dict.fromkeys(fields, "x")


def test_server_event_types_are_unique_and_never_beta_names() -> None:
    types = [kind.type for kind in SERVER_EVENTS]
    assert len(set(types)) == len(types) > 25
    assert not [name for name in types if name.startswith(("response.audio", "response.text.", "conversation.created"))]


@pytest.mark.parametrize("kind", CLIENT_EVENTS)
def test_every_client_event_is_parsed_and_an_unknown_key_is_named(kind: type[BaseModel]) -> None:
    (name,) = get_args(kind.model_fields["type"].annotation)
    fields = {key: VALUES[key] for key, field in kind.model_fields.items() if field.is_required() and key != "type"}
    parsed = events.parse(json.dumps({"type": name, "event_id": "e1", **fields}))
    assert type(parsed) is kind
    assert parsed.event_id == "e1"
    with pytest.raises(BadRequest) as refused:
        events.parse(json.dumps({"type": name, "event_id": "e1", "surprise": 1, **fields}))
    assert (refused.value.code, refused.value.param, refused.value.event_id) == ("unknown_parameter", "surprise", "e1")


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("\x00", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ("[]", "invalid_event", None),
        ("{}", "invalid_event", "type"),
        ('{"type": 3}', "invalid_event", "type"),
        ('{"type": "session.created"}', "invalid_value", "type"),
        ('{"type": "no.such"}', "invalid_value", "type"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": 3}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_value", "audio"),
        ('{"type": "session.update"}', "missing_required_parameter", "session"),
        ('{"type": "session.update", "session": []}', "invalid_value", "session"),
        ('{"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": "1s"}',
         "invalid_value", "audio_end_ms"),
        ('{"type": "response.create", "response": {"max_output_tokens": 0}}', "invalid_value",
         "response.max_output_tokens"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(frame: str, code: str, param: str | None) -> None:
    with pytest.raises(BadRequest) as refused:
        events.parse(frame)
    assert refused.value.code == code
    assert refused.value.param == param


def test_an_append_beyond_the_limit_is_refused() -> None:
    audio = base64.b64encode(bytes(events.MAX_APPEND_BYTES + 2)).decode()
    with pytest.raises(BadRequest, match="at most 15728640 fit one event"):
        events.parse(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
