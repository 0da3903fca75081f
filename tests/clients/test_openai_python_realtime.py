"""openai-python's Realtime client: spoken, pushed, typed, interrupted turns, a function, out of band, transcribing."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from tests.clients.recorded import PATIENCE, SUM, is_forty_two, is_heard, question

FRAME = 4800  # bytes: 100 ms
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
INPUT = {"transcription": {"model": "gpt-4o-transcribe"}}
TOOL = {
    "type": "function",
    "name": "book_table",
    "description": "Books a table in a restaurant",
    "parameters": {
        "type": "object",
        "properties": {
            "guests": {"type": "integer"},
            "place": {"type": "string"},
            "smoking": {"type": "boolean"},
        },
        "required": ["guests", "place", "smoking"],
    },
}


@asynccontextmanager
async def connected(service: str, **session: Any) -> AsyncIterator[AsyncRealtimeConnection]:
    """A session of a client that knows nothing but its base URL."""
    client = AsyncOpenAI(api_key="unused", base_url=f"{service}/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session={"type": "realtime", **session})
        assert (await connection.recv()).type == "session.updated"
        yield connection


async def say(connection: AsyncRealtimeConnection, pcm: bytes) -> None:
    for start in range(0, len(pcm), FRAME):
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[start : start + FRAME]).decode())


async def type_in(connection: AsyncRealtimeConnection, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """Events up to the first of a type; none of them an error."""
    events = []
    async with asyncio.timeout(PATIENCE):
        async for event in connection:
            assert event.type != "error", event
            events.append(event)
            if event.type == kind:
                break
    return events


def audio_of(events: list[Any]) -> bytes:
    return b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta")


def said(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_audio_transcript.delta")


async def test_a_recorded_question_is_heard_and_answered(service: str) -> None:
    async with connected(service, audio={"input": INPUT}) as connection:
        await say(connection, question())
        events = await until(connection, "response.done")
    heard = next(event.transcript for event in events if event.type == TRANSCRIBED)
    assert is_heard(heard), heard
    assert events[-1].response.status == "completed"
    assert said(events) == events[-1].response.output[0].content[0].transcript != ""
    assert len(audio_of(events)) > 24_000
    assert events[-1].response.usage.total_tokens > 0


async def test_semantic_vad_ends_the_turn_too(service: str) -> None:
    detection = {"type": "semantic_vad", "eagerness": "high"}
    async with connected(service, audio={"input": {**INPUT, "turn_detection": detection}}) as connection:
        await say(connection, question(then_silence=8.0))
        events = await until(connection, "response.done")
    assert is_heard(next(event.transcript for event in events if event.type == TRANSCRIBED))


async def test_push_to_talk(service: str) -> None:
    async with connected(service, audio={"input": {**INPUT, "turn_detection": None}}) as connection:
        await say(connection, question())
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        events = await until(connection, "response.done")
    types = [event.type for event in events]
    assert "input_audio_buffer.speech_started" not in types
    assert types.index("input_audio_buffer.committed") < types.index("response.created")
    assert is_heard(next(event.transcript for event in events if event.type == TRANSCRIBED))
    assert len(audio_of(events)) > 24_000


async def test_a_typed_question_is_answered_in_writing(service: str) -> None:
    async with connected(service, output_modalities=["text"]) as connection:
        await type_in(connection, SUM)
        await connection.response.create()
        events = await until(connection, "response.done")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert is_forty_two(text), text
    assert text == events[-1].response.output[0].content[0].text


async def test_barge_in_and_truncation(service: str) -> None:
    async with connected(service, audio={"input": INPUT}) as connection:
        await type_in(connection, "tell me a story")
        await connection.response.create()
        item = (await until(connection, "response.output_audio.delta"))[-1].item_id
        await say(connection, question(then_silence=0.2))
        cancelled = (await until(connection, "response.done"))[-1].response
        await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=400)
        await say(connection, question()[-72_000:])
        events = await until(connection, "response.done")
        if not any(event.type == "conversation.item.truncated" for event in events):
            events += await until(connection, "conversation.item.truncated")
        await connection.conversation.item.retrieve(item_id=item)
        kept = (await until(connection, "conversation.item.retrieved"))[-1].item.content[0].transcript
    assert cancelled.status == "cancelled"
    assert cancelled.status_details.reason == "turn_detected"
    assert len(kept) < len(cancelled.output[0].content[0].transcript)
    assert is_heard(next(event.transcript for event in events if event.type == TRANSCRIBED))


async def test_cancel(service: str) -> None:
    async with connected(service) as connection:
        await type_in(connection, "tell me a story")
        await connection.response.create()
        await until(connection, "response.output_audio.delta")
        await connection.response.cancel()
        assert (await until(connection, "response.done"))[-1].response.status_details.reason == "client_cancelled"
        await type_in(connection, "hello")
        await connection.response.create()
        events = await until(connection, "response.done")
    assert events[-1].response.status == "completed"
    assert len(audio_of(events)) > 9600


async def test_a_forced_function_is_called_with_the_arguments_of_its_schema(service: str) -> None:
    async with connected(service, tools=[TOOL], tool_choice={"type": "function", "name": "book_table"}) as connection:
        await type_in(connection, "book a table for four at the harbour")
        await connection.response.create()
        events = await until(connection, "response.done")
        (call,) = events[-1].response.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": '{"booked": true}'}
        await connection.conversation.item.create(item=output)
        await connection.response.create(response={"tool_choice": "none"})
        answer = (await until(connection, "response.done"))[-1].response
    assert (call.type, call.name) == ("function_call", "book_table")
    arguments = json.loads(call.arguments)
    assert {name: type(value) for name, value in arguments.items()} == {"guests": int, "place": str, "smoking": bool}
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call.arguments
    assert answer.status == "completed"


async def test_a_reply_out_of_band(service: str) -> None:
    async with connected(service) as connection:
        content = [{"type": "input_text", "text": SUM}]
        await connection.response.create(
            response={
                "conversation": "none",
                "output_modalities": ["text"],
                "metadata": {"topic": "sum"},
                "input": [{"type": "message", "role": "user", "content": content}],
            }
        )
        events = await until(connection, "response.done")
    assert not [event for event in events if event.type.startswith("conversation.item")]
    assert events[-1].response.metadata == {"topic": "sum"}
    assert is_forty_two(events[-1].response.output[0].content[0].text)


async def test_a_transcription_session(service: str) -> None:
    client = AsyncOpenAI(api_key="unused", base_url=f"{service}/v1")
    query = {"intent": "transcription"}
    async with client.realtime.connect(model="gpt-4o-transcribe", extra_query=query) as connection:
        await say(connection, question())
        events = await until(connection, TRANSCRIBED)
    assert events[0].session.type == "transcription"
    assert is_heard(events[-1].transcript)
    assert "".join(event.delta for event in events if event.type.endswith("transcription.delta")).strip()
    assert not [event for event in events if event.type.startswith("response.")]
