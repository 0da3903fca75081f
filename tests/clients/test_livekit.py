"""livekit's OpenAI plugin: a realtime session without a room, transcription, speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import function_tool, llm, stt, utils
from livekit.plugins import openai
from openai.types import realtime

from tests.clients.recorded import PATIENCE, SUM, is_forty_two, is_heard, question

RATE = 24_000
SERVER_VAD = realtime.realtime_audio_input_turn_detection.ServerVad(type="server_vad")


def frames(pcm: bytes) -> list[rtc.AudioFrame]:
    """The audio, 100 ms a frame."""
    step = RATE // 10 * 2
    return [
        rtc.AudioFrame(pcm[start : start + step], RATE, 1, len(pcm[start : start + step]) // 2)
        for start in range(0, len(pcm), step)
    ]


class Call:
    """A session, and what it has said of itself."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        self.transcripts: asyncio.Queue[str] = asyncio.Queue()
        self.speech_started = asyncio.Event()
        self.errors: list[Any] = []
        session.on("generation_created", self.generations.put_nowait)
        session.on("input_audio_transcription_completed", self._heard)
        session.on("input_speech_started", lambda _: self.speech_started.set())
        session.on("error", self.errors.append)

    def _heard(self, event: llm.InputTranscriptionCompleted) -> None:
        if event.is_final:
            self.transcripts.put_nowait(event.transcript)

    def say(self, pcm: bytes) -> None:
        for frame in frames(pcm):
            self.session.push_audio(frame)


@asynccontextmanager
async def calling(service: str, **options: Any) -> AsyncIterator[Call]:
    """A session of a model that knows nothing but its base URL; it must end without an error."""
    async with aiohttp.ClientSession() as http:
        model = openai.realtime.RealtimeModel(
            base_url=f"{service}/v1", api_key="unused", model="gpt-realtime", http_session=http, **options
        )
        call = Call(model.session())
        try:
            async with asyncio.timeout(PATIENCE):
                yield call
        finally:
            await call.session.aclose()
            await model.aclose()
    assert not call.errors, call.errors


async def spoken(generation: llm.GenerationCreatedEvent) -> tuple[str, int]:
    """Text and samples of a reply."""
    text, samples = "", 0
    async for message in generation.message_stream:

        async def listen(message: llm.MessageGeneration = message) -> int:
            return sum([frame.samples_per_channel async for frame in message.audio_stream])

        listening = asyncio.create_task(listen())
        text += "".join([str(piece) async for piece in message.text_stream])
        samples += await listening
    return text, samples


async def test_a_recorded_question_is_heard_and_answered(service: str) -> None:
    async with calling(service, turn_detection=SERVER_VAD) as call:
        call.say(question())
        text, samples = await spoken(await call.generations.get())
        assert is_heard(await call.transcripts.get())
        assert text.strip()
        assert samples > RATE // 2


async def test_the_default_turn_detection(service: str) -> None:
    async with calling(service) as call:
        call.say(question(then_silence=10.0))
        assert (await spoken(await call.generations.get()))[0].strip()


async def test_a_reply_that_is_asked_for(service: str) -> None:
    async with calling(service) as call:
        context = llm.ChatContext.empty()
        context.add_message(role="user", content=SUM)
        await call.session.update_chat_ctx(context)
        text, samples = await spoken(await call.session.generate_reply())
        assert is_forty_two(text), text
        assert samples > RATE // 4
        greeting = await call.session.generate_reply(instructions="Say hello to the caller.")
        assert (await spoken(greeting))[0].strip()


async def test_instructions_for_an_empty_conversation(service: str) -> None:
    async with calling(service) as call:
        generation = await call.session.generate_reply(instructions="Greet the caller.")
        assert (await spoken(generation))[0].strip()


async def test_push_to_talk(service: str) -> None:
    async with calling(service, turn_detection=None) as call:
        call.say(question())
        call.session.commit_audio()
        text, _ = await spoken(await call.session.generate_reply())
        assert is_heard(await call.transcripts.get())
        assert text.strip()


async def test_speaking_over_a_reply(service: str) -> None:
    async with calling(service, turn_detection=SERVER_VAD) as call:
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="tell me a story")
        await call.session.update_chat_ctx(context)
        story = await call.session.generate_reply()
        message = await anext(aiter(story.message_stream))
        await anext(aiter(message.audio_stream))
        call.say(question())
        await call.speech_started.wait()
        call.session.truncate(message_id=message.message_id, modalities=["audio"], audio_end_ms=100)
        assert await call.generations.get() is not None
        text, _ = await spoken(await call.generations.get())
        assert text.strip()
        assert is_heard(await call.transcripts.get())


async def test_a_function_is_called_with_the_arguments_of_its_schema(service: str) -> None:
    @function_tool
    async def book_table(guests: int, place: str) -> str:
        """Books a table in a restaurant."""
        raise AssertionError("the session calls nothing itself")

    async with calling(service) as call:
        await call.session.update_tools([book_table])
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="book a table for four at the harbour")
        await call.session.update_chat_ctx(context)
        generation = await call.session.generate_reply(tool_choice="required")
        calls = [one async for one in generation.function_stream]
        assert [one.name for one in calls] == ["book_table"]
        context.insert(calls)
        context.insert(llm.FunctionCallOutput(call_id=calls[0].call_id, output="booked", is_error=False))
        await call.session.update_chat_ctx(context)
        answer = await call.session.generate_reply(tool_choice="none")
        assert [message async for message in answer.message_stream]


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-mini-transcribe"])
async def test_a_transcription_by_request(service: str, model: str) -> None:
    client = openai.STT(base_url=f"{service}/v1", api_key="unused", model=model)
    event = await client.recognize(utils.combine_frames(frames(question())))
    assert is_heard(event.alternatives[0].text)
    await client.aclose()


async def test_a_transcription_by_socket(service: str) -> None:
    async with utils.http_context.open():
        client = openai.STT(base_url=f"{service}/v1", api_key="unused", use_realtime=True)
        async with asyncio.timeout(PATIENCE), client.stream() as stream:
            for frame in frames(question()):
                stream.push_frame(frame)
            async for event in stream:
                if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                    assert is_heard(event.alternatives[0].text)
                    break
        await client.aclose()


@pytest.mark.parametrize("model", ["tts-1", "gpt-4o-mini-tts"])
async def test_speech(service: str, model: str) -> None:
    client = openai.TTS(base_url=f"{service}/v1", api_key="unused", model=model, voice="alloy")
    async with client.synthesize("Hello there.") as stream:
        samples = sum([event.frame.samples_per_channel async for event in stream])
    assert samples > RATE // 4
    await client.aclose()
