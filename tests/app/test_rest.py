"""What REST routes share: a body that is not as it should be is refused in words of ours, whatever the route."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.access import Access
from app.names import Only
from app.rest import install
from app.rest_chat import chat_routes
from app.rest_speech import speech_routes
from app.rest_transcription import transcription_routes
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.audio_service import PACK, local

JSON = "application/json"


def service() -> FastAPI:
    """Every route that takes a body of its own, with workers that must not be asked."""
    app = FastAPI()
    install(app, Access())
    app.include_router(chat_routes(ScriptedLanguage([]), Only(PACK)))
    app.include_router(speech_routes(ScriptedSynthesizer(), Only(PACK)))
    app.include_router(transcription_routes(ScriptedRecognizer([]), Only(PACK)))
    return app


@pytest.mark.parametrize(
    ("path", "body", "message", "param"),
    [
        ("chat/completions", {"json": {"messages": []}}, "messages: got [], expected at least 1 item", "messages"),
        ("chat/completions", {"json": []}, "the body: got [], expected an object", None),
        ("chat/completions", {"content": b"{}"}, f"the body: got Content-Type none, expected {JSON}", None),
        ("chat/completions", {"json": {"messages": [{"role": "user", "content": [{}]}]}},
         "messages.0.content.0.type is missing", "messages.0.content.0.type"),
        ("audio/speech", {"json": {"model": PACK, "input": "a", "voice": 5}},
         "voice: got 5, expected a string, or an object", "voice"),
        ("audio/speech", {"json": {"model": PACK, "input": "a", "voice": "nova", "speed": 9}},
         "speed: got 9, expected at most 4", "speed"),
        ("audio/transcriptions", {"data": {"model": PACK}}, "file is missing", "file"),
        ("audio/transcriptions", {"data": {"model": PACK, "file": "a.wav"}},
         "file: got 'a.wav', expected a file", "file"),
    ],
)  # fmt: skip
async def test_a_body_is_refused_in_words_of_ours(
    path: str, body: dict[str, Any], message: str, param: str | None
) -> None:
    async with local(service()) as client:
        answer: httpx.Response = await client.post(f"/v1/{path}", **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"], error["param"]) == (400, message, param)
    assert error["type"] == "invalid_request_error"
