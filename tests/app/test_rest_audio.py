"""Transcriptions, speech and models: the stock OpenAI client over a real server, then callers who misbehave."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from fastapi import FastAPI

from app.access import Access
from app.audio import HEARING_RATE, REALTIME_RATE, Waveform, to_pcm16
from app.errors import WireError, WorkerBusy, WorkerError, WorkerUnavailable
from app.media import CONTENT_TYPES, decode_to, wav_header
from app.names import Only
from app.rest import MAX_JSON, MAX_MULTIPART, MAX_UPLOAD, install, model_routes
from app.rest_audio import speech_routes, transcription_routes, utterances
from app.workers.base import Health, SpeechChunk
from app.workers.scripted import ScriptedRecognizer, ScriptedSynthesizer, level_of

Serve = Callable[[FastAPI], Awaitable[str]]
PACK = "en-starter"
TEXT = "It is ten past nine."
VOICES = ("scripted", "second")


def service(
    recognizer: ScriptedRecognizer | None = None, synthesizer: Any = None, access: Access | None = None
) -> FastAPI:
    app = FastAPI()
    install(app, access or Access())
    app.include_router(transcription_routes(recognizer or ScriptedRecognizer([]), Only(PACK)))
    app.include_router(speech_routes(synthesizer or ScriptedSynthesizer(voices=VOICES), Only(PACK, VOICES)))
    app.include_router(model_routes(Only(PACK)))
    return app


def stock(url: str, key: str = "any") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def local(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def wav(seconds: float = 1.0, rate: int = HEARING_RATE) -> bytes:
    return wav_header(rate) + to_pcm16(np.full(int(seconds * rate), 0.1, np.float32))


def error_of(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if status < 500 else "server_error")
    assert code is None or error["code"] == code
    assert "Traceback" not in answer.text
    return error


# -- the stock client ------------------------------------------------------------------------------------------------


async def test_transcription(serve: Serve) -> None:
    recognizer = ScriptedRecognizer(["what time is it"])
    async with stock(await serve(service(recognizer))) as client:
        answer = await client.audio.transcriptions.create(
            model="gpt-4o-transcribe",
            file=("question.wav", wav(2.0)),
            language="en",
            prompt="time",
            temperature=0.2,
            timestamp_granularities=["word"],
            chunking_strategy={"type": "server_vad", "threshold": 0.4},
        )
    assert answer.text == "what time is it"
    assert answer.usage is not None
    assert len(recognizer.heard[0]) == 2 * 2 * HEARING_RATE
    assert recognizer.open == 0


async def test_transcription_as_text_and_as_events(serve: Serve) -> None:
    async with stock(await serve(service(ScriptedRecognizer(["turn on the light"], repeat=True)))) as client:
        file = ("q.wav", wav())
        text = await client.audio.transcriptions.create(model="whisper-1", file=file, response_format="text")
        assert str(text).strip() == "turn on the light"
        stream = await client.audio.transcriptions.create(model=PACK, file=file, stream=True)
        events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "turn on the light"


async def test_a_long_recording_is_heard_in_pieces(serve: Serve) -> None:
    recognizer = ScriptedRecognizer(["one", "", "three", ""])  # of an even tone each piece has two thirds of 28 s
    async with stock(await serve(service(recognizer))) as client:
        stream = await client.audio.transcriptions.create(model=PACK, file=("long.wav", wav(70)), stream=True)
        events = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert deltas == ["one", " three"]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "one three"
    assert sum(map(len, recognizer.heard)) == 70 * 2 * HEARING_RATE


@pytest.mark.parametrize("name", list(CONTENT_TYPES))
async def test_speech_in_every_format(serve: Serve, name: Any) -> None:
    synthesizer = ScriptedSynthesizer(sample_rate=16_000)
    async with stock(await serve(service(synthesizer=synthesizer))) as client:
        answer = await client.audio.speech.create(
            model="tts-1", input=TEXT, voice="alloy", response_format=name, instructions=openai.omit
        )
    assert answer.response.headers["content-type"].split(";")[0] == CONTENT_TYPES[name]
    assert synthesizer.spoken == [TEXT]
    data = answer.content if name != "pcm" else wav_header(REALTIME_RATE) + answer.content
    heard = decode_to(data, REALTIME_RATE)
    assert len(heard) / REALTIME_RATE == pytest.approx(len(TEXT) * 1200 / 16_000, abs=0.1)
    if name in ("pcm", "wav"):
        assert np.median(heard) * 32768 == pytest.approx(level_of(TEXT), abs=20)


async def test_a_long_text_is_spoken_clause_by_clause_and_whole(serve: Serve) -> None:
    story = "Once there was a lamp. It would not shine; nobody knew why, and " + "so they waited " * 20 + "until dawn."
    synthesizer = ScriptedSynthesizer(samples_per_character=100)
    async with stock(await serve(service(synthesizer=synthesizer))) as client:
        answer = await client.audio.speech.create(model="tts-1", input=story, voice="nova", response_format="pcm")
    assert len(synthesizer.spoken) > 3
    assert "".join(synthesizer.spoken) == story
    assert len(answer.content) == 2 * 100 * len(story)


async def test_speech_is_mp3_unless_asked_and_takes_nulls(serve: Serve) -> None:
    body = {"model": "gpt-4o-mini-tts", "input": TEXT, "voice": {"id": "scripted"}, "instructions": None}
    body |= {"response_format": None, "speed": None, "stream_format": None, "lipstick": "red"}
    async with httpx.AsyncClient(base_url=await serve(service())) as client:
        answer = await client.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"


async def test_speech_speed_reaches_the_voice(serve: Serve) -> None:
    async with stock(await serve(service())) as client:
        sizes = []
        for speed in (1.0, 2.0):
            speech = await client.audio.speech.create(
                model=PACK, input=TEXT, voice="second", response_format="pcm", speed=speed
            )
            sizes.append(len(speech.content))
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.01)


async def test_speech_as_events(serve: Serve) -> None:
    async with httpx.AsyncClient(base_url=await serve(service())) as client:
        body = {"model": PACK, "input": TEXT, "voice": "", "response_format": "pcm", "stream_format": "sse"}
        answer = await client.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"


async def test_models(serve: Serve) -> None:
    async with stock(await serve(service())) as client:
        assert [model.id for model in (await client.models.list()).data] == [PACK]
        model = await client.models.retrieve("gpt-realtime")
        assert (model.id, model.object, model.owned_by) == ("gpt-realtime", "model", "parley")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("org/unknown")
    assert missing.value.code == "model_not_found"


async def test_key_is_checked_by_the_stock_client_too(serve: Serve) -> None:
    url = await serve(service(access=Access(api_keys=frozenset({"sk-right"}))))
    async with stock(url, "sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError) as denied:
            await client.models.list()
    assert denied.value.code == "invalid_api_key"
    assert denied.value.request_id is not None
    async with stock(url, "sk-right") as client:
        assert (await client.models.list()).data


# -- streaming and leaving -------------------------------------------------------------------------------------------


class Halting:
    """A synthesizer that stops after each word until it is let go on; for what must happen in between."""

    def __init__(self) -> None:
        self.go_on = asyncio.Semaphore(0)
        self.closed = asyncio.Event()
        self.finished = False

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        try:
            for _ in text.split():
                yield SpeechChunk(bytes(4800), REALTIME_RATE, (0, len(text)))
                await self.go_on.acquire()
            self.finished = True
        finally:
            self.closed.set()

    async def health(self) -> Health:
        return Health("synthesizer", "halting", "halting")


async def test_first_speech_arrives_while_the_rest_is_unspoken_and_leaving_cancels(serve: Serve) -> None:
    synthesizer = Halting()
    body = {"model": PACK, "input": "one two three", "voice": "", "response_format": "pcm"}
    async with (
        httpx.AsyncClient(base_url=await serve(service(synthesizer=synthesizer))) as client,
        client.stream("POST", "/v1/audio/speech", json=body) as answer,
    ):
        pieces = answer.aiter_raw()
        assert len(await anext(pieces)) == 4800
        synthesizer.go_on.release()
        assert len(await anext(pieces)) == 4800
        assert not synthesizer.closed.is_set()
    await asyncio.wait_for(synthesizer.closed.wait(), 5)
    assert not synthesizer.finished


async def test_leaving_before_the_first_sound_cancels(serve: Serve) -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    class Mute(Halting):
        async def speak(
            self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
        ) -> AsyncIterator[SpeechChunk]:
            asked.set()
            try:
                await asyncio.Event().wait()
                yield SpeechChunk(b"", REALTIME_RATE, (0, 0))
            finally:
                closed.set()

    body = {"model": PACK, "input": "one", "voice": "", "response_format": "pcm"}
    async with httpx.AsyncClient(base_url=await serve(service(synthesizer=Mute()))) as client:
        request = asyncio.create_task(client.post("/v1/audio/speech", json=body))
        await asyncio.wait_for(asked.wait(), 5)
        request.cancel()
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_failure_in_mid_speech_cuts_the_answer_short(serve: Serve) -> None:
    class Breaking(Halting):
        async def speak(
            self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
        ) -> AsyncIterator[SpeechChunk]:
            yield SpeechChunk(bytes(4800), REALTIME_RATE, (0, 3))
            raise WorkerError("the voice broke")

    url = await serve(service(synthesizer=Breaking()))
    body = {"model": PACK, "input": "one two", "voice": "", "response_format": "pcm"}
    async with httpx.AsyncClient(base_url=url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/v1/audio/speech", json=body)
        answer = await client.post("/v1/audio/speech", json=body | {"stream_format": "sse"})
    assert "the voice broke" in answer.text
    assert "speech.audio.done" not in answer.text


async def test_a_recognizer_that_fails_frees_its_slot_and_says_so() -> None:
    recognizer = ScriptedRecognizer([WorkerError("the decoder broke"), "one", WorkerError("again")], slots=1)
    async with local(service(recognizer)) as client:
        form = {"data": {"model": PACK}, "files": {"file": ("q.wav", wav())}}
        error = error_of(await client.post("/v1/audio/transcriptions", **form), 500, "worker_error")
        assert error["message"] == "the decoder broke"
        assert (await client.post("/v1/audio/transcriptions", **form)).json()["text"] == "one"
        answer = await client.post(
            "/v1/audio/transcriptions", data={"model": PACK, "stream": "true"}, files=form["files"]
        )
        error_of(answer, 500, "worker_error")
    assert recognizer.open == 0


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (WorkerBusy("full"), 503, "worker_busy"),
        (WorkerUnavailable("down"), 503, "worker_unavailable"),
        (WireError("garbled"), 502, "wire_error"),
        (WorkerError("broken"), 500, "worker_error"),
        (RuntimeError("a bug with a /secret/path"), 500, "server_error"),
    ],
)
async def test_worker_failures_have_their_status(failure: Exception, status: int, code: str) -> None:
    async with local(service(ScriptedRecognizer([failure]))) as client:
        answer = await client.post("/v1/audio/transcriptions", data={"model": PACK}, files={"file": ("q", wav())})
    error = error_of(answer, status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert "secret" not in error["message"]


# -- bad input -------------------------------------------------------------------------------------------------------

SERVICE = service()
SPEECH = {"model": PACK, "input": TEXT, "voice": "alloy"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": " \n\t "}, "input"),
        ({"input": "a" * 4097}, "input"),
        ({"input": "a\0b"}, "input"),
        ({"input": ["a"]}, "input"),
        ({"voice": "nobody"}, "voice"),
        ({"voice": {"id": "nobody"}}, "voice"),
        ({"response_format": "midi"}, "response_format"),
        ({"stream_format": "carrier pigeon"}, "stream_format"),
        ({"speed": 0.1}, "speed"),
        ({"speed": 1e308}, "speed"),
        ({"speed": 10**300}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"model": None}, "model"),
    ],
)
async def test_bad_speech_requests_name_the_parameter(change: dict[str, Any], param: str) -> None:
    async with local(SERVICE) as client:
        content = json.dumps(SPEECH | change)
        answer = await client.post("/v1/audio/speech", content=content, headers={"content-type": "application/json"})
    assert error_of(answer, 400)["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b'["a"]',
        b"null",
        b"7",
        b'"text"',
        b"NaN",
        b"\xff\xfe",
        b"\0",
        b"9" * 5000,
        b'{"input": "\\ud800"}',
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
async def test_bodies_that_are_no_json_object(body: bytes, kind: str) -> None:
    async with local(SERVICE) as client:
        answer = await client.post("/v1/audio/speech", content=body, headers={"content-type": kind} if kind else {})
    error_of(answer, 400)


async def test_missing_and_unknown_models_and_routes() -> None:
    files = {"file": ("q.wav", wav())}
    async with local(SERVICE) as client:
        error = error_of(await client.post("/v1/audio/speech", json={"input": "a"}), 400, "missing_required_parameter")
        assert error["param"] == "model"
        error_of(await client.post("/v1/audio/speech", json=SPEECH | {"model": "nope"}), 404, "model_not_found")
        answer = await client.post("/v1/audio/transcriptions", data={"model": "nope"}, files=files)
        error_of(answer, 404, "model_not_found")
        error_of(await client.post("/v1/audio/transcriptions", data={"model": PACK}), 400, "missing_required_parameter")
        error_of(await client.post("/v1/audio/transcriptions", files=files), 400, "missing_required_parameter")
        error_of(await client.get("/v1/nowhere"), 404, "unknown_url")
        error_of(await client.get("/v1/audio/speech"), 405, "method_not_allowed")


@pytest.mark.parametrize("data", [b"", b"not audio at all", b"\0" * 5000, wav_header(16_000)])
async def test_uploads_that_are_no_audio(data: bytes) -> None:
    async with local(SERVICE) as client:
        answer = await client.post("/v1/audio/transcriptions", data={"model": PACK}, files={"file": ("q.wav", data)})
    error_of(answer, 400, "invalid_audio")


async def test_multipart_that_is_broken_or_has_no_file() -> None:
    kind = {"content-type": "multipart/form-data; boundary=x"}
    plain = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
    unnamed = plain + b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\njust text\r\n--x--\r\n'
    async with local(SERVICE) as client:
        for body in (b"", b"garbage", plain, b"--x\r\n\r\n", unnamed):
            error_of(await client.post("/v1/audio/transcriptions", content=body, headers=kind), 400)
        error_of(await client.post("/v1/audio/transcriptions", json={"model": PACK}), 400)


async def test_unsupported_response_format_is_told() -> None:
    async with local(SERVICE) as client:
        data = {"model": PACK, "response_format": "srt"}
        answer = await client.post("/v1/audio/transcriptions", data=data, files={"file": ("q.wav", wav())})
    error = error_of(answer, 400)
    assert error["param"] == "response_format"
    assert "expected json or text" in error["message"]


async def test_too_large_uploads_are_413_for_the_stock_client(serve: Serve) -> None:
    url = await serve(service(ScriptedRecognizer(["after"])))
    async with stock(url) as client:
        for size in (MAX_UPLOAD + 1, MAX_MULTIPART + 1):
            with pytest.raises(openai.APIStatusError) as large:
                await client.audio.transcriptions.create(model=PACK, file=("big.wav", bytes(size)))
            assert large.value.status_code == 413
            assert large.value.type == "invalid_request_error"
        answer = await client.audio.transcriptions.create(model=PACK, file=("q.wav", wav()))
    assert answer.text == "after"


async def test_a_body_without_length_is_counted() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    async with local(SERVICE) as client:
        answer = await client.post("/v1/audio/speech", content=endless(), headers={"content-type": "application/json"})
        error_of(answer, 413, "request_too_large")
        answer = await client.post("/v1/audio/speech", json=SPEECH | {"pad": "x" * MAX_JSON})
        error_of(answer, 413, "request_too_large")


# -- pieces and documentation ----------------------------------------------------------------------------------------


def test_a_long_recording_is_cut_where_it_is_quiet() -> None:
    loud = np.random.default_rng(7).normal(0, 0.2, 65 * HEARING_RATE).astype(np.float32)
    for second in (25, 47):
        loud[second * HEARING_RATE : second * HEARING_RATE + HEARING_RATE // 2] *= 0.01
    pieces = list(utterances(loud))
    assert np.array_equal(np.concatenate(pieces), loud)
    ends = np.cumsum([len(piece) / HEARING_RATE for piece in pieces])
    assert ends == pytest.approx([25.25, 47.25, 65.0], abs=0.25)


@pytest.mark.parametrize("samples", [1, 28 * HEARING_RATE, 28 * HEARING_RATE + 1])
def test_short_and_border_recordings_lose_nothing(samples: int) -> None:
    waveform: Waveform = np.arange(samples, dtype=np.float32)
    pieces = list(utterances(waveform))
    assert np.array_equal(np.concatenate(pieces), waveform)
    assert all(0 < len(piece) <= 28 * HEARING_RATE for piece in pieces)


async def test_wav_answers_open_in_the_standard_library() -> None:
    async with local(service()) as client:
        answer = await client.post("/v1/audio/speech", json=SPEECH | {"response_format": "wav"})
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getframerate() == REALTIME_RATE


def test_openapi_documents_the_key_and_the_errors() -> None:
    schema = service().openapi()
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["security"], path
            assert {"200", "400", "401", "404", "413", "503"} <= set(operation["responses"])
            assert "422" not in operation["responses"]
            envelope = operation["responses"]["400"]["content"]["application/json"]["schema"]
            assert envelope == {"$ref": "#/components/schemas/ErrorEnvelope"}
    speech = schema["paths"]["/v1/audio/speech"]["post"]["responses"]["200"]["content"]
    assert set(speech) >= set(CONTENT_TYPES.values())
    transcription = schema["paths"]["/v1/audio/transcriptions"]["post"]
    assert "multipart/form-data" in transcription["requestBody"]["content"]
