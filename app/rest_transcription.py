"""OpenAI's transcriptions and translations: a file to its words. Knows no engine; receives a ready worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from app import transcript_files
from app.audio import HEARING_RATE, Waveform, to_pcm16
from app.errors import BadRequest, ParleyError
from app.media import decode
from app.names import Models
from app.rest import MAX_UPLOAD, api_router, envelope_of
from app.rest_stream import DONE, EVENT_STREAM, Stream, all_of, first_of, resumed, sse, while_connected
from app.visits import visit_of
from app.workers.base import Recognition, Recognizer, Transcript

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
    return JSONResponse({"text": text, "usage": transcript_files.usage(seconds)})


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


_TEXT: Final = {"schema": {"type": "string"}}
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
