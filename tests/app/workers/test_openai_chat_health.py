"""OpenAIChat's health: of our worker, of other servers, of a sick one and of none."""

from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response

from app.access import Access
from app.errors import WorkerUnavailable
from app.names import Only
from app.rest import install, model_routes
from app.rest_chat import chat_routes
from app.workers.scripted import ScriptedLanguage
from app.workers.server import language_app
from tests.app.workers.test_openai_chat import Serve, client, parts_of


async def test_nobody_there() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        async with client(f"http://127.0.0.1:{unheard.getsockname()[1]}") as chat:
            assert type((await parts_of(chat))[1]) is WorkerUnavailable
            with pytest.raises(WorkerUnavailable, match="does not answer"):
                await chat.health()


async def test_health_of_our_worker_and_of_others(serve: Serve) -> None:
    ours = await serve(language_app(ScriptedLanguage([]), access=Access(), model="scripted"))
    async with client(ours) as chat:
        assert await chat.health() == await ScriptedLanguage([]).health()

    other = FastAPI()  # as vLLM: an empty body at /health, then the list of models
    install(other, Access(api_keys=frozenset({"sk-1"})))
    other.include_router(chat_routes(ScriptedLanguage([]), Only("llama")))
    other.include_router(model_routes(Only("llama")))
    url = await serve(other)
    async with client(url, api_key="sk-1") as chat:
        health = await chat.health()
    assert (health.stage, health.engine, health.model) == ("language", "openai", "llama")
    async with client(url, api_key="sk-wrong") as chat:
        with pytest.raises(WorkerUnavailable, match="401"):
            await chat.health()


async def test_a_sick_worker_is_unavailable(serve: Serve) -> None:
    app = FastAPI()

    @app.get("/health")
    async def health() -> Response:
        return PlainTextResponse("loading", 503)

    async with client(await serve(app)) as chat:
        with pytest.raises(WorkerUnavailable, match="503: loading"):
            await chat.health()
