"""OpenAI's speech endpoint: a text to its speech. Knows no engine; receives a ready worker."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, field_validator

from app.audio import REALTIME_RATE
from app.errors import BadRequest, ParleyError, UnknownModel
from app.media import CONTENT_TYPES, open_encoder
from app.names import Models, voice_of
from app.reply import Speech, clauses, close, speak
from app.rest import api_router, envelope_of
from app.rest_stream import EVENT_STREAM, Stream, first_of, resumed, sse, while_connected
from app.visits import Visit, visit_of
from app.workers.base import Synthesizer

MAX_INPUT: Final = 4096  # characters of a speech request, as OpenAI's


class VoiceById(BaseModel):
    """A voice as an object, the way that custom voices are named."""

    id: str


class SpeechBody(BaseModel):
    """What POST /v1/audio/speech takes; other fields are ignored."""

    model: Annotated[str, Field(examples=["tts-1"])]
    input: Annotated[str, Field(max_length=MAX_INPUT, examples=["Hello there."])]
    voice: str | VoiceById = ""
    response_format: str | None = None
    speed: Annotated[float | None, Field(ge=0.25, le=4.0, allow_inf_nan=False)] = None
    instructions: str | None = None
    stream_format: str | None = None

    @field_validator("input")
    @classmethod
    def _speakable(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty, there is nothing to say")
        if "\0" in text:
            raise ValueError("has a NUL character, expected text")
        return text


def speech_routes(synthesizer: Synthesizer, models: Models) -> APIRouter:
    """POST /v1/audio/speech, spoken by `synthesizer`.

    The answer is 24 kHz mono in every format and begins before the text is wholly spoken.
    """
    router = api_router()

    # Not OpenAI's, but what servers of its audio API have for menus: Open WebUI asks for both.
    @router.get("/audio/models")
    def audio_models() -> dict[str, Any]:
        return {"models": [{"id": name} for name in models.names()]}

    @router.get("/audio/voices")
    def voices(model: str = "") -> dict[str, Any]:
        return {"voices": [{"id": name, "name": name} for name in models.served(model).voices]}

    @router.post("/audio/speech", response_class=Response, responses=SPEECH_ANSWERS)
    async def say(request: Request, body: SpeechBody) -> Response:
        asked = models.served(body.model)
        try:
            voice = voice_of(body.voice if isinstance(body.voice, str) else body.voice.id, asked.voices)
            wanted = body.response_format or "mp3"
            if wanted not in CONTENT_TYPES:
                open_encoder(wanted, REALTIME_RATE)
            if body.stream_format not in (None, "audio", "sse"):
                raise BadRequest(
                    f"stream_format {body.stream_format!r} is not supported; expected audio or sse",
                    param="stream_format",
                )
            # Clause by clause: the first is heard while the others are unspoken, whatever the engine does.
            pieces = speak(
                clauses(_whole(body.input)), synthesizer, voice=voice, speed=body.speed or 1.0, model=asked.model
            )
            first = await while_connected(request, first_of(pieces))
        except UnknownModel as error:  # the route's resource is the model; a voice is a parameter of it
            raise BadRequest(error.message, param="voice") from error
        audio = _encoded(resumed(first, pieces), wanted, visit_of(request.scope))
        if body.stream_format == "sse":
            return Stream(_speech_events(audio), pieces, EVENT_STREAM)
        return Stream(audio, pieces, CONTENT_TYPES[wanted])

    return router


async def _whole(text: str) -> AsyncIterator[str]:
    yield text


async def _encoded(pieces: AsyncIterator[Speech], name: str, visit: Visit) -> AsyncIterator[bytes]:
    """Speech as a file, piece by piece. A failure cuts the answer short, so that it is not taken for its end."""
    encoder = open_encoder(name, REALTIME_RATE)
    async for piece in pieces:
        visit.audio_seconds += piece.seconds
        if data := await asyncio.to_thread(encoder.feed, piece.pcm):
            yield data
    if data := encoder.finish():
        yield data


async def _speech_events(audio: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for data in audio:
            yield sse({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}  # a cascade's voice counts none
        yield sse({"type": "speech.audio.done", "usage": usage})
    except ParleyError as error:
        yield sse(envelope_of(error))
    finally:
        await close(audio)


_TEXT: Final = {"schema": {"type": "string"}}
_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}
SPEECH_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The speech, as it is made",
        "content": dict.fromkeys(CONTENT_TYPES.values(), _BYTES) | {EVENT_STREAM: _TEXT},
    }
}
