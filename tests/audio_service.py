"""The audio routes over scripted workers, and what their callers send and get. For tests of REST."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import openai
from fastapi import FastAPI

from app.access import Access
from app.audio import HEARING_RATE, to_pcm16
from app.media import wav_header
from app.names import Only
from app.rest import install, model_routes
from app.rest_speech import speech_routes
from app.rest_transcription import transcription_routes
from app.workers.scripted import ScriptedRecognizer, ScriptedSynthesizer

Serve = Callable[[FastAPI], Awaitable[str]]
PACK = "en-starter"
TEXT = "It is ten past nine."
VOICES = ("scripted", "second")


def service(
    recognizer: ScriptedRecognizer | None = None, synthesizer: Any = None, access: Access | None = None
) -> FastAPI:
    """Transcriptions, speech and models, of scripted workers."""
    app = FastAPI()
    install(app, access or Access())
    app.include_router(transcription_routes(recognizer or ScriptedRecognizer([]), Only(PACK)))
    app.include_router(speech_routes(synthesizer or ScriptedSynthesizer(voices=VOICES), Only(PACK, VOICES)))
    app.include_router(model_routes(Only(PACK)))
    return app


def stock(url: str, key: str = "any") -> openai.AsyncOpenAI:
    """OpenAI's own client."""
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def local(app: FastAPI) -> httpx.AsyncClient:
    """A client of the application without a server."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def wav(seconds: float = 1.0, rate: int = HEARING_RATE) -> bytes:
    """An even tone as a file."""
    return wav_header(rate) + to_pcm16(np.full(int(seconds * rate), 0.1, np.float32))


def error_of(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The error of an answer that is one, whole and with nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("invalid_request_error" if status < 500 else "server_error")
    assert code is None or error["code"] == code
    assert "Traceback" not in answer.text
    return error
