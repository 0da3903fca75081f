"""pipecat's OpenAI services in a pipeline: realtime, transcription by request and by socket, speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSTextFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.workers.runner import WorkerRunner

from tests.clients.recorded import PATIENCE, SUM, is_forty_two, is_heard, question

CHUNK = 4800  # bytes: 100 ms


class Ear(FrameProcessor):
    """One end of a pipeline: keeps every frame that passes."""

    def __init__(self, frames: list[Frame], changed: asyncio.Event) -> None:
        super().__init__()
        self._frames = frames
        self._changed = changed

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self._frames.append(frame)
        self._changed.set()
        await self.push_frame(frame, direction)


class Piped:
    """A running pipeline around one service."""

    def __init__(self, service: FrameProcessor) -> None:
        self.frames: list[Frame] = []
        self._changed = asyncio.Event()
        ears = [Ear(self.frames, self._changed) for _ in range(2)]
        params = PipelineParams(audio_in_sample_rate=24_000, audio_out_sample_rate=24_000)
        pipeline = Pipeline([ears[0], service, ears[1]])
        self.worker = PipelineWorker(pipeline, cancel_on_idle_timeout=False, enable_rtvi=False, params=params)

    async def send(self, *frames: Frame) -> None:
        for frame in frames:
            await self.worker.queue_frame(frame)

    async def say(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), CHUNK):
            await self.send(InputAudioRawFrame(pcm[start : start + CHUNK], 24_000, 1))

    async def until(self, enough: Callable[[], Any]) -> None:
        """Until enough frames have passed; none of them an error."""
        async with asyncio.timeout(PATIENCE):
            while not enough():
                assert not self.of(ErrorFrame), self.of(ErrorFrame)
                self._changed.clear()
                await self._changed.wait()

    def of(self, kind: type[Frame]) -> list[Any]:
        return [frame for frame in self.frames if type(frame) is kind]

    def text(self, kind: type[Frame]) -> str:
        return " ".join(frame.text for frame in self.of(kind))


@asynccontextmanager
async def piped(service: FrameProcessor) -> AsyncIterator[Piped]:
    """A pipeline that has started."""
    pipe = Piped(service)
    started = asyncio.Event()

    @pipe.worker.event_handler("on_pipeline_started")
    async def _started(*_: object) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(pipe.worker)
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(PATIENCE):
        await started.wait()
        # Speech that comes before its own session.update would be heard by another turn detection, and then forgotten.
        while not getattr(service, "_api_session_ready", getattr(service, "_session_ready", True)):
            await asyncio.sleep(0.02)
    try:
        yield pipe
    finally:
        await pipe.worker.cancel()
        await running


def realtime(service: str, detection: Any, **properties: Any) -> OpenAIRealtimeLLMService:
    """The service as an application makes it: nothing of ours but the URL."""
    heard = events.AudioInput(
        transcription=events.InputAudioTranscription("gpt-4o-transcribe"), turn_detection=detection
    )
    session = events.SessionProperties(audio=events.AudioConfiguration(input=heard), **properties)
    settings = OpenAIRealtimeLLMService.Settings(model="gpt-realtime", session_properties=session)
    url = "ws" + service.removeprefix("http") + "/v1/realtime"
    return OpenAIRealtimeLLMService(api_key="unused", base_url=url, settings=settings)


def context(text: str) -> LLMContextFrame:
    return LLMContextFrame(LLMContext([{"role": "user", "content": text}]))


async def test_a_recorded_question_is_heard_and_answered(service: str) -> None:
    async with piped(realtime(service, events.TurnDetection())) as pipe:
        await pipe.say(question())
        await pipe.until(lambda: pipe.of(LLMFullResponseEndFrame) and pipe.of(TranscriptionFrame))
    assert is_heard(pipe.text(TranscriptionFrame))
    assert sum(len(frame.audio) for frame in pipe.of(TTSAudioRawFrame)) > 24_000
    assert pipe.text(TTSTextFrame).strip()


async def test_a_typed_question_is_answered_in_writing(service: str) -> None:
    async with piped(realtime(service, events.TurnDetection(), output_modalities=["text"])) as pipe:
        await pipe.send(context(SUM))
        await pipe.until(lambda: pipe.of(LLMFullResponseEndFrame))
    text = "".join(frame.text for frame in pipe.of(LLMTextFrame))
    assert is_forty_two(text), text


async def test_speaking_over_a_reply(service: str) -> None:
    async with piped(realtime(service, events.SemanticTurnDetection(eagerness="high"))) as pipe:
        await pipe.send(context("tell me a story"))
        await pipe.until(lambda: pipe.of(TTSAudioRawFrame))
        await pipe.say(question(then_silence=8.0))
        await pipe.until(lambda: len(pipe.of(LLMFullResponseEndFrame)) >= 2 and pipe.of(TranscriptionFrame))
    assert is_heard(pipe.text(TranscriptionFrame))


async def test_push_to_talk(service: str) -> None:
    async with piped(realtime(service, False)) as pipe:
        await pipe.say(question())
        await pipe.send(InterruptionFrame())  # the client clears, and cancels a reply that does not run
        await pipe.send(context(SUM))
        await pipe.until(lambda: pipe.of(LLMFullResponseEndFrame))
    assert is_forty_two(pipe.text(TTSTextFrame))


async def test_a_transcription_by_request(service: str) -> None:
    async with piped(OpenAISTTService(api_key="unused", base_url=f"{service}/v1")) as pipe:
        await pipe.send(VADUserStartedSpeakingFrame())
        await pipe.say(question())
        await pipe.send(VADUserStoppedSpeakingFrame())
        await pipe.until(lambda: pipe.of(TranscriptionFrame))
    assert is_heard(pipe.text(TranscriptionFrame))


async def test_a_transcription_by_socket(service: str) -> None:
    url = "ws" + service.removeprefix("http") + "/v1/realtime"
    detection = {"type": "server_vad"}
    stt = OpenAIRealtimeSTTService(api_key="unused", base_url=url, turn_detection=detection)
    async with piped(stt) as pipe:
        await pipe.say(question())
        await pipe.until(lambda: pipe.of(TranscriptionFrame))
    assert is_heard(pipe.text(TranscriptionFrame))


async def test_speech(service: str) -> None:
    async with piped(OpenAITTSService(api_key="unused", base_url=f"{service}/v1")) as pipe:
        await pipe.send(TTSSpeakFrame("Hello there."))
        await pipe.until(lambda: sum(len(frame.audio) for frame in pipe.of(TTSAudioRawFrame)) > 24_000)
