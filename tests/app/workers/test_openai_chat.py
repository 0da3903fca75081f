"""OpenAIChat against our own chat route, where it must behave as the model behind it, and against faulty servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from app.access import Access
from app.errors import BadRequest, ParleyError, WireError, WorkerBusy, WorkerError, WorkerUnavailable
from app.workers.base import ChatRequest, LanguageModel, ReplyPart, TextDelta, ToolCall, Usage
from app.workers.openai_chat import OpenAIChat
from app.workers.scripted import HOLD, ScriptedLanguage
from app.workers.server import language_app

Serve = Callable[[FastAPI], Awaitable[str]]
ASK = ChatRequest([{"role": "user", "content": "what time is it"}])
CALLS = [ToolCall("call_a", "get_time", '{"city": "Bergen \u2028 \u00e5"}'), ToolCall("call_b", "set_timer", "{}")]
SCRIPTS: list[Any] = [
    "It is ten past nine.",
    "",
    'Line one.\n\nLine two: {"a": 1}\u2028 data: [DONE] \U0001f600\r\n',
    ["One moment. ", *CALLS],
    CALLS[:1],
    ["One ", WorkerError("broke off")],
    [WorkerError("broke at once")],
    [WorkerBusy("full")],
    [WorkerUnavailable("the engine is gone")],
    ["One ", WireError("garbled")],
    [BadRequest("too long", param="messages")],
]


async def parts_of(language: LanguageModel, request: ChatRequest = ASK) -> tuple[list[ReplyPart], ParleyError | None]:
    """A reply's parts, and the error that ended it."""
    parts = []
    try:
        async for part in language.reply(request):
            parts.append(part)
    except ParleyError as error:
        return parts, error
    return parts, None


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[OpenAIChat]:
    chat = OpenAIChat(url, **options)
    try:
        yield chat
    finally:
        await chat.close()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_served_model_behaves_like_the_model_itself(serve: Serve, script: Any) -> None:
    url = await serve(language_app(ScriptedLanguage([script]), access=Access(), model="scripted"))
    expected, error = await parts_of(ScriptedLanguage([script]))
    async with client(url) as chat:
        got, failure = await parts_of(chat)
    assert got == expected
    assert type(failure) is type(error)
    if error is not None and failure is not None:
        assert error.message in failure.message
        assert failure.param == error.param


async def test_every_field_of_a_request_arrives(serve: Serve) -> None:
    served = ScriptedLanguage(["Yes.", "No."])
    url = await serve(language_app(served, access=Access(api_keys=frozenset({"sk-1"})), model="scripted"))
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    earlier = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request = ChatRequest(
        messages=[
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": None, "tool_calls": [earlier]},
            {"role": "tool", "content": "1", "tool_call_id": "c"},
        ],
        tools=(tool,),
        tool_choice={"type": "function", "function": {"name": "f"}},
        max_tokens=9,
        temperature=0.0,
        top_p=0.5,
        stop=("x", "y"),
    )  # fmt: skip
    async with client(f"{url}/v1/", api_key="sk-1") as chat:
        assert (await parts_of(chat, request))[1] is None
        assert (await parts_of(chat, ASK))[1] is None
    assert served.requests == [replace(request, model="scripted"), replace(ASK, model="scripted")]


async def test_closing_a_reply_stops_the_server_at_once(serve: Serve) -> None:
    served = ScriptedLanguage([["One ", HOLD], ["Two ", HOLD], "Three."])
    url = await serve(language_app(served, access=Access(), model="scripted"))
    async with client(url) as chat:
        async with aclosing(chat.reply(ASK)) as reply:  # type: ignore[type-var]
            assert await anext(reply) == TextDelta("One ")
        await cancelled(served, 1)
        task = asyncio.create_task(parts_of(chat))
        while len(served.requests) < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        await cancelled(served, 2)
        assert (await parts_of(chat))[0][0] == TextDelta("Three.")


async def cancelled(served: ScriptedLanguage, count: int) -> None:
    async with asyncio.timeout(5):
        while served.cancelled < count:
            await asyncio.sleep(0.001)


# -- other servers ---------------------------------------------------------------------------------------------------


def faulty(answer: Callable[[], Response]) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        await request.body()
        return answer()

    return app


def events(*lines: bytes) -> Callable[[], Response]:
    """A stream of raw bytes, whatever they are; sent one by one, so that lines are torn between packets."""

    async def body() -> AsyncIterator[bytes]:
        for byte in b"".join(lines):
            yield bytes([byte])

    return lambda: StreamingResponse(body(), media_type="text/event-stream")


def delta(**fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **fields}]}).encode() + b"\n\n"


def fragment(index: int, **fields: Any) -> bytes:
    return delta(delta={"tool_calls": [{"index": index, **fields}]})


async def test_fragments_of_calls_are_put_together(serve: Serve) -> None:
    answer = events(
        b": keep-alive\r\n\r\n",
        b"event: message\n",
        delta(delta={"role": "assistant", "content": None}, finish_reason=None),
        fragment(0, id="call_1", type="function", function={"name": "get_time", "arguments": ""}),
        fragment(0, function={"arguments": '{"city"'}),
        fragment(1, id="call_2", function={"name": "stop"}),
        fragment(0, function={"arguments": ': "Bergen"}'}, id=None),
        delta(delta={}, finish_reason="tool_calls"),
        b'data:{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"extra":null}}\r\n\r\n',
        b"data: [DONE]\n\n",
    )
    async with client(await serve(faulty(answer))) as chat:
        parts, error = await parts_of(chat)
    assert error is None
    assert parts == [
        ToolCall("call_1", "get_time", '{"city": "Bergen"}'),
        ToolCall("call_2", "stop", "{}"),
        Usage(7, 9, "tool_calls"),
    ]


async def test_a_server_without_usage_is_accepted(serve: Serve) -> None:
    answer = events(delta(delta={"content": "Hi"}), delta(delta={}, finish_reason="length"), b"data: [DONE]\n\n")
    async with client(await serve(faulty(answer))) as chat:
        assert (await parts_of(chat))[0] == [TextDelta("Hi"), Usage(0, 0, "length")]


GOOD = delta(delta={"content": "Hi"})


@pytest.mark.parametrize(
    "lines",
    [
        (GOOD, b"data: {broken\n\n"),
        (GOOD, b"data: [1]\n\n"),
        (GOOD, b'data: {"choices": 7}\n\n'),
        (GOOD, b'data: {"choices": ["x"]}\n\n'),
        (GOOD, delta(delta={"content": 7})),
        (GOOD, fragment("x", id="a")),  # type: ignore[arg-type]
        (GOOD, fragment(0, id="a"), delta(delta={}, finish_reason="tool_calls"), b"data: [DONE]\n\n"),
        (GOOD, b"data: \xff\n\n"),
        (GOOD,),
        (GOOD, b"data: [DONE]\n\n"),
        (GOOD, b"<html>\n</html>\n"),
    ],
)
async def test_malformed_streams_are_never_an_end(serve: Serve, lines: tuple[bytes, ...]) -> None:
    async with client(await serve(faulty(events(*lines)))) as chat:
        parts, error = await parts_of(chat)
    assert parts == [TextDelta("Hi")]
    assert isinstance(error, WireError)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, {"error": {"message": "bad n", "param": "n"}}, BadRequest, "bad n"),
        (400, {"object": "error", "message": "context is 2048", "code": 400}, BadRequest, "context is 2048"),
        (401, {"error": {"message": "no key"}}, WorkerError, "no key"),
        (404, {"error": {"message": "no model x"}}, WorkerError, "no model x"),
        (404, {"detail": "Not Found"}, WorkerError, "404"),
        (429, {"error": {"message": "slow down"}}, WorkerBusy, "slow down"),
        (503, "busy", WorkerBusy, "busy"),
        (500, "<html>" * 100_000, WorkerError, "<html>"),
        (418, {"error": "a teapot"}, WorkerError, "a teapot"),
        (307, "", WorkerError, "307"),
    ],
)
async def test_refusals_keep_the_servers_words(
    serve: Serve, status: int, body: Any, kind: type[ParleyError], message: str
) -> None:
    answer = PlainTextResponse(body, status) if isinstance(body, str) else JSONResponse(body, status)
    async with client(await serve(faulty(lambda: answer))) as chat:
        parts, error = await parts_of(chat)
    assert parts == []
    assert type(error) is kind
    assert message in error.message
    assert len(error.message) < 400


async def test_a_silent_server_is_given_up(serve: Serve) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield GOOD
        await asyncio.Event().wait()

    app = faulty(lambda: StreamingResponse(never(), media_type="text/event-stream"))
    async with client(await serve(app), timeout_seconds=0.2) as chat:
        parts, error = await parts_of(chat)
    assert parts == [TextDelta("Hi")]
    assert type(error) is WorkerUnavailable


async def test_the_configured_model_is_asked_for(serve: Serve) -> None:
    asked: list[Any] = []
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        asked.append((await request.json()).get("model"))
        return events(delta(delta={}, finish_reason="stop"), b"data: [DONE]\n\n")()

    url = await serve(app)
    async with client(url, model="llama") as chat:
        await parts_of(chat, ChatRequest([], model="en-starter"))
    async with client(url) as chat:
        await parts_of(chat, ChatRequest([], model="en-starter"))
        await parts_of(chat, ChatRequest([]))
    assert asked == ["llama", "en-starter", None]
