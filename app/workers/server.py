"""Hosts one engine as a process: the private wire, OpenAI REST for `curl`, and /health. Knows no particular engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

from app import metrics, tracing
from app.access import Access
from app.errors import BadAudio, ParleyError, WireError
from app.names import Models, Only
from app.reply import close
from app.rest import install
from app.rest_chat import chat_routes
from app.rest_speech import speech_routes
from app.rest_transcription import transcription_routes
from app.workers import wire
from app.workers.base import Health, LanguageModel, Recognition, Recognizer, Synthesizer
from app.workers.observed import Observed

log = logging.getLogger("parley.worker")


def recognizer_app(recognizer: Recognizer, *, access: Access, model: str, models: Models | None = None) -> FastAPI:
    """A recognizer worker for requests that mean `models`; None: the one named `model`."""
    app = _worker_app(recognizer, access, "recognizer")
    app.include_router(transcription_routes(recognizer, models or Only(model)))

    @app.websocket("/wire/recognize")
    async def recognize(socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await _answer(socket, _recognize(socket, recognizer))

    return app


def synthesizer_app(synthesizer: Synthesizer, *, access: Access, model: str, models: Models | None = None) -> FastAPI:
    """A synthesizer worker; `models` as above."""
    app = _worker_app(synthesizer, access, "synthesizer")
    app.include_router(speech_routes(synthesizer, models or Only(model)))

    @app.websocket("/wire/speak")
    async def speak(socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await _answer(socket, _speak(socket, synthesizer))

    return app


def language_app(language: LanguageModel, *, access: Access, model: str, models: Models | None = None) -> FastAPI:
    """A language worker: stock OpenAI chat completions, nothing of ours; `models` as above."""
    app = _worker_app(language, access, "language")
    app.include_router(chat_routes(language, models or Only(model)))
    return app


def _worker_app(worker: Recognizer | LanguageModel | Synthesizer, access: Access, stage: str) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(metrics.watch_loop())
        yield
        watching.cancel()
        if (stop := getattr(worker, "close", None)) is not None:
            await asyncio.to_thread(stop)  # engines with processes or threads of their own end them here

    app = FastAPI(title="Parley worker", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Observed, stage=stage)
    install(app, access)

    @app.get("/metrics", include_in_schema=False)
    def metrics_page() -> Response:
        body, content_type = metrics.page()
        return Response(body, media_type=content_type)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        state: Health = await worker.health()
        return asdict(state)

    return app


async def _answer(socket: WebSocket, messages: AsyncIterator[wire.WireMessage]) -> None:
    """Sends the messages; what goes wrong on the way is told to the peer and ends the stream."""
    try:
        async for message in messages:
            await socket.send_bytes(wire.encode(message))
    except ParleyError as error:
        log.warning("[%s] failed: %s", tracing.session.get(), error.message)
        metrics.REFUSALS.labels(error.code).inc()
        await socket.send_bytes(wire.encode(wire.failure_of(error)))
    finally:
        await close(messages)
    await socket.close()


async def _receive(socket: WebSocket) -> wire.WireMessage:
    """The next message. Raises WebSocketDisconnect, WireError."""
    frame = await socket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame.get("code", 1005))
    return wire.decode(frame.get("bytes") or frame.get("text") or b"")


async def _recognize(socket: WebSocket, recognizer: Recognizer) -> AsyncIterator[wire.WireMessage]:
    opening = await _receive(socket)
    if not isinstance(opening, wire.Open):
        raise WireError(f"got {type(opening).__name__}, expected Open")
    recognition = await recognizer.start(
        language=opening.language,
        prompt=opening.prompt,
        hot_words=opening.hot_words,
        word_times=opening.word_times,
        model=opening.model,
    )
    outgoing: asyncio.Queue[wire.WireMessage | BaseException] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_hear(socket, recognition, outgoing)),
        asyncio.create_task(_guess(recognition, outgoing)),
    ]
    try:
        yield wire.Opened()
        while True:
            message = await outgoing.get()
            if isinstance(message, BaseException):
                raise message
            yield message
            if isinstance(message, wire.Heard):
                return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await recognition.abort()


async def _hear(
    socket: WebSocket, recognition: Recognition, outgoing: asyncio.Queue[wire.WireMessage | BaseException]
) -> None:
    try:
        while not isinstance(message := await _receive(socket), wire.Finish):
            if isinstance(message, wire.Abort):
                raise WebSocketDisconnect(1000)
            if not isinstance(message, wire.Audio):
                raise WireError(f"got {type(message).__name__}, expected Audio, Finish or Abort")
            if len(message.pcm) % 2:
                raise BadAudio(f"got {len(message.pcm)} bytes of PCM16, expected an even number")
            recognition.feed(message.pcm)
        heard = await recognition.finish()
        await outgoing.put(wire.heard_of(heard))
    except (ParleyError, WebSocketDisconnect) as error:
        await outgoing.put(error)


async def _guess(recognition: Recognition, outgoing: asyncio.Queue[wire.WireMessage | BaseException]) -> None:
    with contextlib.suppress(ParleyError):  # `finish` raises it too
        async for text in recognition.hypotheses():
            await outgoing.put(wire.Hypothesis(text))


async def _speak(socket: WebSocket, synthesizer: Synthesizer) -> AsyncIterator[wire.WireMessage]:
    asked = await _receive(socket)
    if not isinstance(asked, wire.Speak):
        raise WireError(f"got {type(asked).__name__}, expected Speak")
    chunks = synthesizer.speak(asked.text, voice=asked.voice, speed=asked.speed, model=asked.model)
    gone = asyncio.create_task(_receive(socket))  # an Abort, or the peer's close: either ends the work
    try:
        while True:
            coming = asyncio.ensure_future(anext(chunks, None))
            await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                raise WebSocketDisconnect(1000)
            chunk = coming.result()
            if chunk is None:
                break
            yield wire.Spoken(chunk.sample_rate, chunk.text_span, chunk.marks, chunk.marks_are_estimated, chunk.pcm)
        yield wire.SpeechEnd()
    finally:
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await close(chunks)
