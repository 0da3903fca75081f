"""The stock `openai` client over a real server: VAD turn, push to talk, text, barge-in. Nothing of ours in between."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from app.gateway import GatewayOptions, create_app
from app.speaking import Workers
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.serving import serving
from tests.sounds import flite, silence

QUESTION = "what time is it"
FRAME = 960  # bytes: 20 ms


@asynccontextmanager
async def connected(heard: list[str], replies: list[Any]) -> AsyncIterator[AsyncRealtimeConnection]:
    """The client's own connection object."""
    workers = Workers(ScriptedRecognizer(heard), ScriptedLanguage(replies), ScriptedSynthesizer())
    app = create_app(SCRIPTED, workers, options=GatewayOptions(audio_ahead_seconds=1000))
    async with serving(app) as url:
        client = AsyncOpenAI(api_key="unused", base_url=f"{url}/v1")
        async with client.realtime.connect(model="gpt-realtime") as connection:
            yield connection


async def say(connection: AsyncRealtimeConnection, pcm: bytes) -> None:
    for start in range(0, len(pcm), FRAME):
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[start : start + FRAME]).decode())


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """Events up to the first of a type."""
    events = []
    async with asyncio.timeout(20):
        async for event in connection:
            events.append(event)
            if event.type == kind:
                break
    return events


async def test_vad_turn() -> None:
    async with connected([QUESTION], ["It is four."]) as connection:
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        )
        await say(connection, flite(QUESTION) + silence(1.0))
        events = await until(connection, "response.done")
    by_type = {event.type: event for event in events}
    assert events[0].type == "session.created"
    assert by_type["conversation.item.input_audio_transcription.completed"].transcript == QUESTION
    assert by_type["response.output_audio_transcript.done"].transcript == "It is four."
    assert by_type["response.done"].response.status == "completed"
    assert by_type["response.done"].response.output[0].content[0].transcript == "It is four."
    audio = b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta")
    assert len(audio) == len("It is four.") * 1200 * 2


async def test_push_to_talk() -> None:
    async with connected([QUESTION], ["It is four."]) as connection:
        await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await say(connection, flite(QUESTION))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        events = await until(connection, "response.done")
    types = [event.type for event in events]
    assert "input_audio_buffer.speech_started" not in types
    assert types.index("input_audio_buffer.committed") < types.index("response.created")
    assert events[-1].response.status == "completed"


async def test_text() -> None:
    async with connected([], ["It is four."]) as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What time is it?"}]}
        )
        await connection.response.create()
        events = await until(connection, "response.done")
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "It is four."
    assert len(deltas) > 1


async def test_barge_in() -> None:
    replies = [["Once upon a time there was a fox who lived in a wood. ", HOLD], "Fine."]
    async with connected(["tell me a story", "stop"], replies) as connection:
        await say(connection, flite("tell me a story") + silence(1.0))
        events = await until(connection, "response.output_audio.delta")
        item = events[-1].item_id
        await say(connection, flite("stop it please now"))
        events = await until(connection, "response.done")
        assert events[-1].response.status_details.reason == "turn_detected"
        await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=50)
        await say(connection, silence(1.0))
        events = await until(connection, "response.done")
    truncated = [event for event in events if event.type == "conversation.item.truncated"]
    assert [event.audio_end_ms for event in truncated] == [50]
    assert not [event for event in events if event.type == "error"]
    assert events[-1].response.status == "completed"
