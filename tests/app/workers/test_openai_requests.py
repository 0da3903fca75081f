"""OpenAIChat: what it sends again, what it never sends again, and the histories that it sends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from app.errors import BadRequest, WorkerBusy
from app.workers.base import ChatRequest, TextDelta, Usage
from app.workers.chat_prompt import ChatTemplate
from tests.app.workers.test_openai_chat import GOOD, Serve, client, delta, events, parts_of


class Counting:
    """A server that answers each request with the next response; counts what it was asked."""

    def __init__(self, *answers: Callable[[], Response]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = list(answers)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            self.asked.append(await request.json())
            return self._answers.pop(0)()

        return app


WHOLE_BYTES = GOOD + delta(delta={}, finish_reason="stop") + b"data: [DONE]\n\n"
WHOLE = events(WHOLE_BYTES)


def starting() -> Response:
    return PlainTextResponse("loading", 503)


async def test_a_server_that_starts_is_asked_again(serve: Serve) -> None:
    server = Counting(starting, starting, WHOLE)
    async with client(await serve(server.app())) as chat:
        assert await parts_of(chat) == ([TextDelta("Hi"), Usage()], None)
    assert len(server.asked) == 3


async def test_a_server_that_does_not_get_well_is_given_up(serve: Serve) -> None:
    server = Counting(*[starting] * 4)
    async with client(await serve(server.app())) as chat:
        assert type((await parts_of(chat))[1]) is WorkerBusy
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        lambda: PlainTextResponse("full", 503, {"retry-after": "1"}),
        lambda: PlainTextResponse("slow down", 429),
        lambda: PlainTextResponse("broken", 500),
        lambda: PlainTextResponse("wrong", 400),
        events(GOOD),
        events(b"data: {broken\n\n"),
        events(GOOD, b'data: {"error": {"message": "engine died", "code": 503}}\n\n'),
    ],
)
async def test_what_may_have_begun_is_never_sent_again(serve: Serve, answer: Callable[[], Response]) -> None:
    server = Counting(answer, WHOLE)
    async with client(await serve(server.app())) as chat:
        assert (await parts_of(chat))[1] is not None
    assert len(server.asked) == 1


async def test_a_server_that_comes_back_is_found(serve: Serve) -> None:
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{place.getsockname()[1]}"
        async with client(refusing) as chat:
            reply = asyncio.create_task(parts_of(chat))
            for _ in range(100):
                await asyncio.sleep(0)  # the first connection is refused; were it later, the test would prove less
            place.listen()
            peer, _ = await asyncio.to_thread(place.accept)
            with peer:
                await asyncio.to_thread(peer.recv, 65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + WHOLE_BYTES)
            assert await reply == ([TextDelta("Hi"), Usage()], None)


# -- histories -------------------------------------------------------------------------------------------------------


def turns(count: int) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{role} {turn}"} for turn in range(count) for role in ("user", "assistant")]


async def test_the_oldest_turns_are_left_out_where_the_server_has_no_room(serve: Serve) -> None:
    def too_long() -> Response:
        return JSONResponse(
            {"error": {"message": "This model's maximum context length is 96 tokens.", "code": 400}}, 400
        )

    system = {"role": "system", "content": "s"}
    server = Counting(too_long, too_long, WHOLE)
    async with client(await serve(server.app())) as chat:
        request = ChatRequest([system, *turns(5), {"role": "user", "content": "now"}])
        assert await parts_of(chat, request) == ([TextDelta("Hi"), Usage()], None)
    assert [len(asked["messages"]) for asked in server.asked] == [12, 10, 8]
    assert server.asked[-1]["messages"] == [system, *turns(5)[4:], {"role": "user", "content": "now"}]

    server = Counting(too_long, too_long)
    async with client(await serve(server.app())) as chat:
        error = (await parts_of(chat, ChatRequest([system, *turns(2)])))[1]
    assert isinstance(error, BadRequest)
    assert error.code == "context_length_exceeded"
    assert len(server.asked) == 2


# As Gemma's: no system message, user and assistant in turns.
STRICT = """
{%- for message in messages -%}
{%- if message.role == "system" %}{{ raise_exception("System role not supported") }}{% endif -%}
{%- if (message.role == "user") != (loop.index0 % 2 == 0) -%}
{{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
{%- endif -%}
{{ message.role }}:{{ message.content }}|
{%- endfor -%}
"""


async def test_a_strict_template_gets_the_order_that_it_demands(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "template").write_text(STRICT)
    template = ChatTemplate(tmp_path / "template", (), "")
    rendered: list[str] = []
    refused = 0
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        nonlocal refused
        try:
            rendered.append(template.render((await request.json())["messages"], ()))
        except BadRequest as error:  # in the words of the template, as vLLM does
            refused += 1
            return JSONResponse({"error": {"message": error.message, "code": 400}}, 400)
        return WHOLE()

    history = [{"role": "assistant", "content": "a"}, {"role": "user", "content": "u"}]
    async with client(await serve(app)) as chat:
        for messages in (history, [*history, {"role": "system", "content": "s"}], history):
            assert await parts_of(chat, ChatRequest(messages)) == ([TextDelta("Hi"), Usage()], None)
    assert rendered == [
        "user:Hello.|assistant:a|user:u|",
        "user:s|assistant:a|user:u|",
        "user:Hello.|assistant:a|user:u|",
    ]
    assert refused == 2  # once a rule


async def test_a_refusal_that_order_does_not_mend_is_passed_on(serve: Serve) -> None:
    refusal = JSONResponse({"error": {"message": "Conversation roles must alternate", "code": 400}}, 400)
    server = Counting(*[lambda: refusal] * 2)
    async with client(await serve(server.app())) as chat:
        assert type((await parts_of(chat))[1]) is BadRequest
    assert len(server.asked) == 2
