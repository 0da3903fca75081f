"""Transcriptions and speech of callers who leave or misbehave, and of workers that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from app.audio import REALTIME_RATE
from app.errors import WireError, WorkerBusy, WorkerError, WorkerUnavailable
from app.media import wav_header
from app.rest import MAX_JSON, MAX_MULTIPART, MAX_UPLOAD
from app.workers.base import Health, SpeechChunk
from app.workers.scripted import ScriptedRecognizer
from tests.audio_service import PACK, TEXT, Serve, error_of, local, service, stock, wav

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
        data = {"model": PACK, "response_format": "diarized_json"}
        answer = await client.post("/v1/audio/transcriptions", data=data, files={"file": ("q.wav", wav())})
    error = error_of(answer, 400)
    assert error["param"] == "response_format"
    assert "expected one of json, text" in error["message"]


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
