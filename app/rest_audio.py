"""OpenAI's audio endpoints: a file to its words, a text to its speech. Knows no engine; receives ready workers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field, field_validator
from starlette.exceptions import HTTPException

from app import transcript_files
from app.audio import HEARING_RATE, REALTIME_RATE, Waveform, to_pcm16
from app.errors import BadRequest, ParleyError, UnknownModel
from app.media import CONTENT_TYPES, decode, open_encoder
from app.names import Models, voice_of
from app.reply import Speech, clauses, close, speak
from app.rest import MAX_UPLOAD, api_router, envelope_of
from app.rest_stream import DONE, EVENT_STREAM, Stream, all_of, first_of, resumed, sse, while_connected
from app.visits import Visit, visit_of
from app.workers.base import Recognition, Recognizer, Synthesizer, Transcript

MAX_INPUT: Final = 4096  # characters of a speech request, as OpenAI's
UTTERANCE_SECONDS: Final = 28.0  # longest piece given to a recognizer: Whisper's window is 30 s
QUIET_SECONDS: Final = 0.2  # a cut is made in the middle of the quietest stretch of this length
FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
TIMED: Final = ("srt", "verbose_json", "vtt")
ENGLISH: Final = "en"
PIECE: Final = HEARING_RATE  # samples fed at once


def transcription_routes(recognizer: Recognizer, models: Models) -> APIRouter:
    """POST /v1/audio/transcriptions and translations, heard by `recognizer`."""
    router = api_router()

    @router.post("/audio/transcriptions", responses=TRANSCRIPTION_ANSWERS)
    async def transcribe(
        request: Request,
        file: Annotated[UploadFile, File(description="flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav or webm, up to 25 MB")],
        model: Annotated[str, Form()],
        language: Annotated[str, Form()] = "",
        prompt: Annotated[str, Form()] = "",
        response_format: Annotated[str, Form()] = "json",
        stream: Annotated[bool, Form()] = False,
        granularities: Annotated[list[str], Form(alias="timestamp_granularities[]")] = [],  # noqa: B006
        bare_granularities: Annotated[list[str], Form(alias="timestamp_granularities")] = [],  # noqa: B006
    ) -> Response:
        asked = models.served(model)
        granularities = [*granularities, *bare_granularities]
        _check_form(response_format, granularities, stream=stream)
        waveform = await _waveform(request, file)
        timed = response_format in TIMED
        heard = hear(recognizer, waveform, language, prompt, asked.model, word_times=timed)
        if stream:
            first = await while_connected(request, first_of(heard))
            return Stream(_transcript_events(first, heard), heard, EVENT_STREAM)
        transcripts = await while_connected(request, all_of(heard))
        return _answer(transcripts, len(waveform) / HEARING_RATE, response_format, language, granularities)

    @router.post("/audio/translations", responses=TRANSCRIPTION_ANSWERS)
    async def translate(
        request: Request,
        file: Annotated[UploadFile, File(description="as of a transcription")],
        model: Annotated[str, Form()],
        prompt: Annotated[str, Form()] = "",
        response_format: Annotated[str, Form()] = "json",
    ) -> Response:
        """English of English; no recognizer here translates, and what was said in another language is refused."""
        asked = models.served(model)
        _check_form(response_format, (), stream=False)
        waveform = await _waveform(request, file)
        heard = hear(recognizer, waveform, "", prompt, asked.model, word_times=response_format in TIMED)
        transcripts = await while_connected(request, all_of(heard))
        for part in transcripts:
            if part.text and not part.language.lower().startswith(ENGLISH):
                raise BadRequest(
                    f"The model hears, and does not translate; it heard the language {part.language or 'unknown'!r}",
                    code="translation_unsupported",
                    param="model",
                )
        return _answer(transcripts, len(waveform) / HEARING_RATE, response_format, ENGLISH, (), task="translate")

    return router


def _check_form(response_format: str, granularities: Sequence[str], *, stream: bool) -> None:
    if response_format not in FORMATS:
        raise BadRequest(
            f"response_format {response_format!r} is not supported; expected one of {', '.join(FORMATS)}",
            param="response_format",
        )
    if stream and response_format in TIMED:
        raise BadRequest(
            f"a stream has words alone, got response_format {response_format!r}, expected json or text",
            param="response_format",
        )
    for one in granularities:
        if one not in ("word", "segment"):
            raise BadRequest(
                f"timestamp_granularities: got {one!r}, expected word or segment", param="timestamp_granularities"
            )


async def _waveform(request: Request, file: UploadFile) -> Waveform:
    data = await file.read(MAX_UPLOAD + 1)
    if len(data) > MAX_UPLOAD:
        raise HTTPException(413, f"The file has more than {MAX_UPLOAD} bytes, the most that is accepted")
    waveform = await asyncio.to_thread(decode, data)
    visit_of(request.scope).audio_seconds += len(waveform) / HEARING_RATE
    return waveform


def _answer(
    transcripts: Sequence[Transcript],
    seconds: float,
    response_format: str,
    language: str,
    granularities: Sequence[str],
    *,
    task: str = "transcribe",
) -> Response:
    """The transcript of a whole recording in one of FORMATS."""
    text = " ".join(part.text for part in transcripts if part.text)
    match response_format:
        case "text":
            return PlainTextResponse(text + "\n")
        case "srt":
            return PlainTextResponse(transcript_files.srt(transcripts))
        case "vtt":
            return PlainTextResponse(transcript_files.vtt(transcripts))
        case "verbose_json":
            return JSONResponse(
                transcript_files.verbose_json(
                    transcripts, task=task, seconds=seconds, language=language, granularities=granularities
                )
            )
    return JSONResponse({"text": text, "usage": {"type": "duration", "seconds": seconds}})


async def hear(
    recognizer: Recognizer, waveform: Waveform, language: str, prompt: str, model: str, *, word_times: bool = False
) -> AsyncIterator[Transcript]:
    """A recording of any length, utterance by utterance; closing it early frees the recognizer's slot."""
    for utterance in utterances(waveform):
        recognition = await recognizer.start(language=language, prompt=prompt, word_times=word_times, model=model)
        try:
            transcript = await _recognize(recognition, utterance)
        except BaseException:
            await recognition.abort()
            raise
        yield transcript


async def _recognize(recognition: Recognition, utterance: Waveform) -> Transcript:
    for start in range(0, len(utterance), PIECE):
        recognition.feed(to_pcm16(utterance[start : start + PIECE]))
        await asyncio.sleep(0)  # a long recording must not keep other callers' frames waiting
    return await recognition.finish()


def utterances(waveform: Waveform, longest: float = UTTERANCE_SECONDS) -> Iterator[Waveform]:
    """A recording cut into pieces of at most `longest` seconds, each cut in the quietest part of the last third."""
    quiet = int(QUIET_SECONDS * HEARING_RATE)
    most = int(longest * HEARING_RATE)
    while len(waveform) > most:
        tail = waveform[most * 2 // 3 : most].astype(np.float64)
        power = np.concatenate(([0.0], np.cumsum(tail**2)))
        cut = most * 2 // 3 + int(np.argmin(power[quiet:] - power[:-quiet])) + quiet // 2
        yield waveform[:cut]
        waveform = waveform[cut:]
    yield waveform


async def _transcript_events(first: Transcript | None, rest: AsyncIterator[Transcript]) -> AsyncIterator[bytes]:
    """Server-sent events: a delta an utterance, since interim words may still change; then the whole."""
    text = ""
    try:
        async for part in resumed(first, rest):
            if part.text:
                delta = part.text if not text else " " + part.text
                text += delta
                yield sse({"type": "transcript.text.delta", "delta": delta})
        usage = {"type": "tokens", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0}  # a recognizer counts none
        yield sse({"type": "transcript.text.done", "text": text, "usage": usage})
    except ParleyError as error:
        yield sse(envelope_of(error))
    yield DONE


class VoiceById(BaseModel):
    """A voice as an object, the way that custom voices are named."""

    id: str


class SpeechBody(BaseModel):
    """What POST /v1/audio/speech takes; other fields are ignored."""

    model: str
    input: Annotated[str, Field(max_length=MAX_INPUT)]
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
TRANSCRIPTION_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The transcript; with `stream`, as events",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["text"]}},
            "text/plain": _TEXT,
            EVENT_STREAM: _TEXT,
        },
    }
}
SPEECH_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The speech, as it is made",
        "content": dict.fromkeys(CONTENT_TYPES.values(), _BYTES) | {EVENT_STREAM: _TEXT},
    }
}
