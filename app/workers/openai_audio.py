"""Recognizer and synthesizer behind any server of OpenAI's audio API. Knows of the server only its URL.

Such a server hears an utterance only when it is over, so there are no words before its end.
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final
from urllib.parse import urldefrag

import httpx

from app import tracing
from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, REALTIME_RATE, Pcm16, seconds_of, to_waveform
from app.errors import BadRequest, ParleyError, UnknownModel, WireError, WorkerBusy, WorkerError, WorkerUnavailable
from app.workers.base import Health, Recognition, SpeechChunk, Transcript
from app.workers.proportional import Progress

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 60.0  # of silence
HEALTH_SECONDS: Final = 3.0
CHUNK_BYTES: Final = int(0.2 * REALTIME_RATE) * BYTES_PER_SAMPLE
LAST_BYTES: Final = int(0.02 * REALTIME_RATE) * BYTES_PER_SAMPLE  # kept back, so that the end of the text has a chunk


class OpenAIRecognizer:
    """Satisfies Recognizer over POST {url}/audio/transcriptions."""

    def __init__(self, url: str, *, api_key: str = "") -> None:
        """`url` ends with its version, usually /v1; a fragment names the model there: http://HOST/v1#whisper-1."""
        self._server = _Server(url, api_key, "recognizer", "whisper-1")

    async def start(
        self,
        *,
        language: str = "",
        prompt: str = "",
        hot_words: str = "",
        word_times: bool = False,
        model: str = "",
    ) -> Recognition:
        """Opens an utterance; hot words join the prompt, `word_times` and `model` are not used."""
        said = " ".join(part for part in (prompt, hot_words) if part)
        return OpenAIRecognition(self._server, language.split("-")[0], said)

    async def health(self) -> Health:
        """That a server is there. Raises WorkerUnavailable."""
        return await self._server.health()


class OpenAIRecognition:
    """One utterance; sent as a whole when it is over."""

    def __init__(self, server: _Server, language: str, prompt: str) -> None:
        self._server = server
        self._fields = {"model": server.model, "language": language, "prompt": prompt, "response_format": "json"}
        self._language = language
        self._audio = bytearray()
        self._ended = asyncio.Event()

    def feed(self, frame: Pcm16) -> None:
        """Keeps the audio."""
        self._audio += frame

    async def hypotheses(self) -> AsyncIterator[str]:
        """None; ends with the utterance."""
        await self._ended.wait()
        return
        yield ""  # what makes this a generator

    async def finish(self) -> Transcript:
        """The transcript. Raises WorkerError, BadRequest."""
        self._ended.set()
        data = {name: value for name, value in self._fields.items() if value}
        files = {"file": ("utterance.wav", _wav(self._audio), "audio/wav")}
        async with self._server.post("audio/transcriptions", data=data, files=files) as response:
            body = await self._server.read(response)
        try:
            text = response.json()["text"].strip()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WireError(f"{response.url} answered {body[:80]!r}, expected JSON with a text") from error
        seconds = seconds_of(bytes(self._audio), HEARING_RATE)
        return Transcript(text, seconds, engine="openai", language=self._language)

    async def abort(self) -> None:
        """Forgets the audio; nothing was sent."""
        self._ended.set()


class OpenAISynthesizer:
    """Satisfies Synthesizer over POST {url}/audio/speech, 24 kHz PCM as it comes."""

    def __init__(self, url: str, *, api_key: str = "") -> None:
        """`url` as for OpenAIRecognizer."""
        self._server = _Server(url, api_key, "synthesizer", "tts-1")

    async def speak(
        self, text: str, *, voice: str = "", speed: float = 1.0, model: str = ""
    ) -> AsyncIterator[SpeechChunk]:
        """Speech with estimated marks; `voice` is that server's, `model` unused. Raises WorkerError, BadRequest."""
        body = {
            "model": self._server.model,
            "input": text,
            "voice": voice or "alloy",
            "speed": speed,
            "response_format": "pcm",
        }
        progress = Progress(text, REALTIME_RATE, speed=speed)
        async with self._server.post("audio/speech", json=body) as response:
            if response.is_error:
                raise await self._server.refusal(response)
            kept = b""
            async with aclosing(self._server.chunks(response)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    kept += chunk
                    if len(ready := kept[: max(0, len(kept) - LAST_BYTES) // 2 * 2]):
                        kept = kept[len(ready) :]
                        yield progress.chunk(to_waveform(ready), last=False)
        if len(kept) % BYTES_PER_SAMPLE:
            raise WireError(f"{response.url} sent half a sample at the end, expected PCM16")
        if kept:
            yield progress.chunk(to_waveform(kept), last=True)

    async def health(self) -> Health:
        """That a server is there. Raises WorkerUnavailable."""
        return await self._server.health()


class _Server:
    """The HTTP client of one server."""

    def __init__(self, url: str, api_key: str, stage: str, model: str) -> None:
        self._url, named = urldefrag(url)
        self._url = self._url.rstrip("/")
        self.model = named or model
        self._stage = stage
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            # A server closes what is idle, uvicorn after 5 s; a connection about to be closed must not carry a request.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=3.0),
            trust_env=False,  # no proxy and no .netrc: the URL and the key are the whole truth
        )

    @asynccontextmanager
    async def post(self, path: str, **content: Any) -> AsyncIterator[httpx.Response]:
        """The open answer, closed at the end: that is how a server learns to stop. Raises WorkerUnavailable."""
        request = self._http.build_request("POST", f"{self._url}/{path}", headers=tracing.headers(), **content)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        async with aclosing(response):
            yield response

    async def read(self, response: httpx.Response) -> bytes:
        """The whole body of an answer that is none of the errors. Raises WorkerError, BadRequest."""
        if response.is_error:
            raise await self.refusal(response)
        try:
            return await response.aread()
        except httpx.HTTPError as error:
            raise self._gone(error) from error

    async def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """The body as it comes, in pieces of CHUNK_BYTES. Raises WorkerUnavailable where it breaks off."""
        try:
            async with aclosing(response.aiter_bytes(CHUNK_BYTES)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk
        except httpx.HTTPError as error:
            raise self._gone(error) from error

    async def refusal(self, response: httpx.Response) -> ParleyError:
        """The error that the answer stands for."""
        try:
            body = (await response.aread())[:1000]
        except httpx.HTTPError as error:
            return self._gone(error)
        message = f"{response.url} answered {response.status_code}: {body.decode('utf-8', 'replace')[:300]}"
        if response.status_code in (429, 503):
            return WorkerBusy(message)
        if response.status_code == 404:
            return UnknownModel(message)
        return BadRequest(message) if response.status_code in (400, 413, 422) else WorkerError(message)

    async def health(self) -> Health:
        """Whether it answers; a server without a list of models does too, with 404."""
        try:
            listed = await self._http.get(f"{self._url}/models", timeout=HEALTH_SECONDS)
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        if listed.is_error and listed.status_code != httpx.codes.NOT_FOUND:
            raise WorkerUnavailable(f"{listed.url} answered {listed.status_code}: {listed.text[:200]}")
        return Health(self._stage, "openai", self.model, {"url": self._url})

    def _gone(self, error: httpx.HTTPError) -> WorkerUnavailable:
        return WorkerUnavailable(f"no server answers at {self._url}: {error or type(error).__name__}")


def _wav(pcm: bytes | bytearray) -> bytes:
    """A recording whose header says its length: not every server reads one of unknown length."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(BYTES_PER_SAMPLE)
        recording.setframerate(HEARING_RATE)
        recording.writeframes(pcm)
    return file.getvalue()
