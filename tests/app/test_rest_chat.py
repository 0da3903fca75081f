"""Chat completions: the stock OpenAI client over a real server, whole and streamed, then callers who misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from app.access import Access
from app.errors import BadRequest, WorkerBusy, WorkerError
from app.names import Only
from app.rest import install
from app.rest_chat import chat_routes
from app.workers.base import ToolCall
from app.workers.scripted import HOLD, ScriptedLanguage

Serve = Callable[[FastAPI], Awaitable[str]]
PACK = "en-starter"
USER: Any = [{"role": "user", "content": "what time is it"}]
TIMER = ToolCall("call_1", "set_timer", '{"minutes": 5}')
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "set_timer",
            "description": "Sets a timer",
            "parameters": {"type": "object", "properties": {"minutes": {"type": "integer"}}},
        },
    }
]


def service(language: ScriptedLanguage) -> FastAPI:
    app = FastAPI()
    install(app, Access())
    app.include_router(chat_routes(language, Only(PACK)))
    return app


def stock(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)


def local(*script: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(service(ScriptedLanguage(script)), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def test_a_reply_in_one_piece(serve: Serve) -> None:
    language = ScriptedLanguage(["It is ten past nine."])
    async with stock(await serve(service(language))) as client:
        answer = await client.chat.completions.create(
            model="gpt-4o",
            messages=[
                {"role": "developer", "content": "Be short."},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "what time "}, {"type": "text", "text": "is it"}],
                },
            ],
            max_completion_tokens=50,
            temperature=0.5,
            stop="\n",
            seed=7,
            user="someone",
        )
    assert answer.object == "chat.completion"
    assert answer.model == "gpt-4o"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "It is ten past nine."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 5, 7)
    [request] = language.requests
    assert request.messages == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "what time is it"},
    ]
    assert (request.max_tokens, request.temperature, list(request.stop), request.model) == (50, 0.5, ["\n"], PACK)


async def test_a_reply_as_it_is_written(serve: Serve) -> None:
    language = ScriptedLanguage(["It is ten past nine."])
    async with stock(await serve(service(language))) as client:
        stream = await client.chat.completions.create(
            model=PACK, messages=USER, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    words = [chunk.choices[0].delta.content for chunk in chunks[1:-2]]
    assert words == ["It", " is", " ten", " past", " nine."]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * 6 + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_usage_is_not_streamed_unless_asked() -> None:
    async with local("Yes.") as client:
        answer = await client.post("/v1/chat/completions", json={"messages": USER, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "usage" not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_are_answered_to_the_client(serve: Serve, streamed: bool) -> None:
    language = ScriptedLanguage([["One moment. ", TIMER, ToolCall("call_2", "set_timer", "{}")]])
    forced: Any = {"type": "function", "function": {"name": "set_timer"}}
    async with stock(await serve(service(language))) as client:
        if streamed:
            async with client.chat.completions.stream(
                model=PACK, messages=USER, tools=TOOLS, tool_choice=forced
            ) as stream:
                answer: Any = await stream.get_final_completion()
        else:
            answer = await client.chat.completions.create(model=PACK, messages=USER, tools=TOOLS, tool_choice=forced)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content.strip() == "One moment."
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls]
    assert calls == [("call_1", "set_timer", '{"minutes": 5}'), ("call_2", "set_timer", "{}")]
    [request] = language.requests
    assert list(request.tools) == TOOLS
    assert request.tool_choice == forced


async def test_a_call_and_its_answer_reach_the_model() -> None:
    language = ScriptedLanguage([[TIMER], "It is set."])
    app = service(language)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        first = await client.post("/v1/chat/completions", json={"messages": USER, "tools": TOOLS})
        call = first.json()["choices"][0]["message"]
        assert call["content"] is None
        result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "done"}]}
        second = await client.post("/v1/chat/completions", json={"messages": [*USER, call, result]})
    assert second.json()["choices"][0]["message"]["content"] == "It is set."
    assert language.requests[1].messages[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "set_timer", "arguments": '{"minutes": 5}'},
                }
            ],
        },
        {"role": "tool", "content": "done", "tool_call_id": "call_1"},
    ]


async def test_leaving_a_stream_cancels_the_reply(serve: Serve) -> None:
    language = ScriptedLanguage([["One ", HOLD]])
    async with stock(await serve(service(language))) as client:
        stream = await client.chat.completions.create(model=PACK, messages=USER, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        assert language.cancelled == 0
        await stream.close()
        await until(lambda: language.cancelled == 1)


async def test_leaving_a_whole_reply_cancels_it_too(serve: Serve) -> None:
    language = ScriptedLanguage([["One ", HOLD]])
    async with httpx.AsyncClient(base_url=await serve(service(language))) as client:
        request = asyncio.create_task(client.post("/v1/chat/completions", json={"messages": USER}))
        await until(lambda: len(language.requests) == 1)
        request.cancel()
        await until(lambda: language.cancelled == 1)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the event loop work until something has happened; fails after 5 s."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_failures_before_and_after_the_first_word(serve: Serve) -> None:
    script = [WorkerBusy("full"), WorkerError("broken"), ["One ", WorkerError("broke off")], "Fine."]
    async with stock(await serve(service(ScriptedLanguage(script)))) as client:
        with pytest.raises(openai.InternalServerError) as busy:
            await client.chat.completions.create(model=PACK, messages=USER, stream=True)
        assert (busy.value.status_code, busy.value.code) == (503, "worker_busy")
        assert busy.value.response.headers["retry-after"]
        with pytest.raises(openai.InternalServerError) as broken:
            await client.chat.completions.create(model=PACK, messages=USER)
        assert (broken.value.status_code, broken.value.code) == (500, "worker_error")
        stream = await client.chat.completions.create(model=PACK, messages=USER, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            async for _ in stream:
                pass
        answer = await client.chat.completions.create(model=PACK, messages=USER)
    assert answer.choices[0].message.content == "Fine."


async def test_a_failed_stream_is_not_ended_as_if_it_were_whole() -> None:
    async with local(["One ", WorkerError("broke off")]) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": USER, "stream": True})
    last = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["error"] == {"message": "broke off", "type": "server_error", "param": None, "code": "worker_error"}
    assert "[DONE]" not in answer.text
    assert '"stop"' not in answer.text


async def test_the_model_may_refuse_a_request() -> None:
    async with local(BadRequest("too long", param="messages")) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": USER, "stream": True})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages.0"),
        ({"messages": USER * 2049}, "messages"),
        ({"messages": [{"role": "king", "content": "a"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [*USER, {"role": "assistant"}]}, "messages.1.content"),
        ({"messages": [*USER, {"role": "tool", "content": "a"}]}, "messages.1.tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"n": 2}, "n"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 1e300}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": TOOLS * 129}, "tools"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
async def test_bad_requests_name_the_parameter(change: dict[str, Any], param: str) -> None:
    async with local() as client:
        content = json.dumps({"messages": USER} | change)
        answer = await client.post(
            "/v1/chat/completions", content=content, headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_tool_choices_that_are_none() -> None:
    async with local("Yes.", "Yes.") as client:
        for choice in ("perhaps", {"type": "function"}, 7, []):
            answer = await client.post("/v1/chat/completions", json={"messages": USER, "tool_choice": choice})
            assert answer.status_code == 400
            assert answer.json()["error"]["param"].startswith("tool_choice")
        for good in (None, "auto"):
            answer = await client.post("/v1/chat/completions", json={"messages": USER, "tool_choice": good})
            assert answer.status_code == 200


async def test_deeply_nested_and_strange_bodies() -> None:
    headers = {"content-type": "application/json"}
    nested = b'{"messages": [{"role": "user", "content": "a"}], "tools": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    async with local() as client:
        surrogate = json.dumps({"messages": [{"role": "user", "content": "\udfff"}]}).encode()
        huge = json.dumps({"messages": USER, "n": 10**400}).encode()
        nan = json.dumps({"messages": USER, "temperature": float("nan")}).encode()
        for body in (nested, surrogate, huge, nan, b"[]", b"7", b"{", b"\xff", b'{"messages": \0}'):
            answer = await client.post("/v1/chat/completions", content=body, headers=headers)
            assert answer.status_code == 400, body[:20]
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_nul_and_odd_characters_reach_the_model_as_they_are() -> None:
    text = "a\0b\u2028c\U0001f600"
    language = ScriptedLanguage(["Yes."])
    transport = httpx.ASGITransport(service(language))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}]})
    assert answer.status_code == 200
    assert language.requests[0].messages[0]["content"] == text


async def test_unknown_model_is_404() -> None:
    async with local() as client:
        answer = await client.post("/v1/chat/completions", json={"model": "other", "messages": USER})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
