"""openai-agents: its realtime runner, and the models of its voice pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from agents.voice import AudioInput, OpenAISTTModel, OpenAITTSModel, StreamedAudioInput, STTModelSettings
from agents.voice import TTSModelSettings as Speech
from openai import AsyncOpenAI

from tests.clients.recorded import PATIENCE, is_forty_two, is_heard, question

set_tracing_disabled(True)  # traces would go to OpenAI
CHUNK = 4800  # bytes: 100 ms
SPOKEN = {
    "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": {"type": "server_vad"}}}
}


@asynccontextmanager
async def running(service: str, settings: dict[str, Any], *tools: Any) -> AsyncIterator[RealtimeSession]:
    """A session of an agent that knows nothing but the service's URL."""
    agent = RealtimeAgent(name="Anna", tools=list(tools))
    runner = RealtimeRunner(agent, config={"model_settings": settings, "tracing_disabled": True})
    url = "ws" + service.removeprefix("http") + "/v1/realtime?model=gpt-realtime"
    async with await runner.run(model_config={"url": url, "api_key": "unused"}) as session:
        yield session


async def say(session: RealtimeSession, pcm: bytes) -> None:
    for start in range(0, len(pcm), CHUNK):
        await session.send_audio(pcm[start : start + CHUNK])


async def events_until(session: RealtimeSession, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Events until there are enough of them; none of them an error."""
    events: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        async for event in session:
            assert event.type != "error", event.error
            events.append(event)
            if enough(events):
                return events
    raise AssertionError("the session ended")


def raw(events: list[Any], type: str) -> list[Any]:
    """Events of the model's connection, of one type."""
    return [event.data for event in events if event.type == "raw_model_event" and event.data.type == type]


def turns_ended(events: list[Any]) -> int:
    return len(raw(events, "turn_ended"))


def server_events(events: list[Any], type: str) -> list[dict[str, Any]]:
    """Frames of the service, of one type."""
    return [one.data for one in raw(events, "raw_server_event") if one.data["type"] == type]


async def test_a_recorded_question_is_heard_and_answered(service: str) -> None:
    async with running(service, SPOKEN) as session:
        await say(session, question())
        events = await events_until(session, lambda so_far: turns_ended(so_far) == 1)
    assert is_heard(raw(events, "input_audio_transcription_completed")[0].transcript)
    assert sum(len(event.audio.data) for event in events if event.type == "audio") > 24_000
    history = next(event for event in reversed(events) if event.type == "history_updated").history
    assert [item.role for item in history] == ["user", "assistant"]
    assert history[1].content[0].transcript


async def test_a_typed_question_is_answered(service: str) -> None:
    async with running(service, {"output_modalities": ["text"]}) as session:
        await session.send_message("what is twelve plus thirty")
        events = await events_until(session, lambda so_far: turns_ended(so_far) == 1)
    deltas = server_events(events, "response.output_text.delta")
    assert is_forty_two("".join(event["delta"] for event in deltas))


async def test_speaking_over_a_reply(service: str) -> None:
    async with running(service, SPOKEN) as session:
        await session.send_message("tell me a story")
        await events_until(session, lambda so_far: so_far[-1].type == "audio")
        await say(session, question())
        events = await events_until(session, lambda so_far: turns_ended(so_far) == 2)
    (cancelled, completed) = [event["response"] for event in server_events(events, "response.done")]
    assert cancelled["status_details"]["reason"] == "turn_detected"
    assert completed["status"] == "completed"
    assert [event for event in events if event.type == "audio_interrupted"]


async def test_a_function_is_called_and_its_result_answered(service: str) -> None:
    calls: list[tuple[int, str]] = []

    @function_tool
    async def book_table(guests: int, place: str) -> str:
        """Books a table in a restaurant."""
        calls.append((guests, place))
        await session.model.send_event(stop_forcing)
        return "booked"

    from agents.realtime.model_inputs import RealtimeModelSendSessionUpdate

    stop_forcing = RealtimeModelSendSessionUpdate(session_settings={"tool_choice": "none"})
    async with running(service, {"tool_choice": "required", "output_modalities": ["text"]}, book_table) as session:
        await session.send_message("book a table for four at the harbour")
        events = await events_until(session, lambda so_far: turns_ended(so_far) == 2)
    assert [(type(guests), type(place)) for guests, place in calls] == [(int, str)]
    assert [event.type for event in events if event.type in ("tool_start", "tool_end")] == ["tool_start", "tool_end"]
    assert server_events(events, "response.done")[1]["response"]["status"] == "completed"


async def test_the_voice_pipelines_models(service: str) -> None:
    client = AsyncOpenAI(api_key="unused", base_url=f"{service}/v1")
    samples = np.frombuffer(question(), "<i2")
    heard = await OpenAISTTModel("gpt-4o-transcribe", client).transcribe(
        AudioInput(buffer=samples), STTModelSettings(), False, False
    )
    assert is_heard(heard), heard
    speech = [piece async for piece in OpenAITTSModel("gpt-4o-mini-tts", client).run("Hello there.", Speech())]
    assert len(b"".join(speech)) > 24_000


async def test_the_voice_pipelines_streamed_transcription(service: str) -> None:
    client = AsyncOpenAI(api_key="unused", base_url=f"{service}/v1")
    audio = StreamedAudioInput()
    settings = STTModelSettings(turn_detection={"type": "server_vad"})
    session = await OpenAISTTModel("gpt-4o-transcribe", client).create_session(audio, settings, False, False)
    samples = np.frombuffer(question(), "<i2")
    for start in range(0, len(samples), 2400):
        await audio.add_audio(samples[start : start + 2400])
    await audio.add_audio(None)
    async with asyncio.timeout(PATIENCE):
        turns = [turn async for turn in session.transcribe_turns()]
    await session.close()
    assert len(turns) >= 1
    assert is_heard(" ".join(turns)), turns
