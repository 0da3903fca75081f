"""OpenAI's chat completions over a LanguageModel. Knows no engine; receives a ready worker.

Tools are the client's: a call is answered to the client, never executed here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.errors import BadRequest, ParleyError
from app.names import Models, Served
from app.rest import api_router, envelope_of
from app.rest_stream import DONE, EVENT_STREAM, Stream, all_of, first_of, resumed, sse, while_connected
from app.workers.base import ChatRequest, LanguageModel, Message, ReplyPart, TextDelta, ToolCall, Usage

MAX_MESSAGES: Final = 2048
MAX_TOOLS: Final = 128  # as OpenAI's


class FunctionCall(BaseModel):
    """A call that an earlier reply made."""

    name: str
    arguments: str = "{}"


class CallMessage(BaseModel):
    """A function call within an assistant message."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(BaseModel):
    """A piece of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None


class ChatMessage(BaseModel):
    """One message; other fields are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[CallMessage] | None = None
    tool_call_id: str | None = None


class FunctionSpec(BaseModel):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ChatTool(BaseModel):
    """A tool of the client's."""

    type: Literal["function"] = "function"
    function: FunctionSpec


class FunctionName(BaseModel):
    """The function of a forced call."""

    name: str


class ForcedTool(BaseModel):
    """A tool choice that names the function to call."""

    type: Literal["function"] = "function"
    function: FunctionName


class StreamOptions(BaseModel):
    """What a stream carries beside deltas."""

    include_usage: bool | None = None


class ChatBody(BaseModel):
    """What POST /v1/chat/completions takes; other fields are ignored."""

    model: str = ""
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    tools: Annotated[list[ChatTool] | None, Field(max_length=MAX_TOOLS)] = None
    tool_choice: Literal["auto", "none", "required"] | ForcedTool | None = None
    max_tokens: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, allow_inf_nan=False)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1, allow_inf_nan=False)] = None
    stop: str | list[str] | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


def chat_routes(language: LanguageModel, models: Models) -> APIRouter:
    """POST /v1/chat/completions, written by `language`."""
    router = api_router()

    @router.post("/chat/completions", response_class=Response, responses=CHAT_ANSWERS)
    async def complete(request: Request, body: ChatBody) -> Response:
        asked = models.served(body.model)
        if body.n not in (None, 1):
            raise BadRequest(f"n is {body.n}, expected 1: one reply is written at a time", param="n")
        parts = language.reply(request_of(body, asked))
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body.model or asked.model}
        if body.stream:
            first = await while_connected(request, first_of(parts))
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            return Stream(_events(resumed(first, parts), head, with_usage), parts, EVENT_STREAM)
        return JSONResponse(_completion(await while_connected(request, all_of(parts)), head))

    return router


def request_of(body: ChatBody, asked: Served) -> ChatRequest:
    """The worker's request for a client's body. Raises BadRequest for content that is not text."""
    messages = [_message(message, f"messages.{index}") for index, message in enumerate(body.messages)]
    choice = body.tool_choice
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return ChatRequest(
        messages=messages,
        tools=tuple(tool.model_dump(exclude_none=True) for tool in body.tools or ()),
        tool_choice=choice.model_dump() if isinstance(choice, ForcedTool) else choice or "auto",
        model=asked.model,
        base_sha256=asked.base_sha256,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        stop=tuple(stop),
    )


def _message(message: ChatMessage, where: str) -> Message:
    role = "system" if message.role == "developer" else message.role
    plain: dict[str, Any] = {"role": role, "content": _text(message.content, where)}
    if message.tool_calls:
        plain["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    elif role == "assistant" and plain["content"] is None:
        raise BadRequest("an assistant message needs content or tool_calls", param=f"{where}.content")
    if role == "tool":
        if not message.tool_call_id:
            raise BadRequest("a tool message needs the tool_call_id it answers", param=f"{where}.tool_call_id")
        plain["tool_call_id"] = message.tool_call_id
    if role not in ("assistant", "tool") and plain["content"] is None:
        raise BadRequest(f"a {message.role} message needs content", param=f"{where}.content")
    if message.name:
        plain["name"] = message.name
    return plain


def _text(content: str | list[ContentPart] | None, where: str) -> str | None:
    if content is None or isinstance(content, str):
        return content
    for index, part in enumerate(content):
        if part.type not in ("text", "refusal"):
            param = f"{where}.content.{index}.type"
            raise BadRequest(f"content of type {part.type!r} is not supported, expected text", param=param)
    return "".join(part.text or part.refusal or "" for part in content)


def _completion(parts: list[ReplyPart], head: dict[str, Any]) -> dict[str, Any]:
    """The answer in one piece."""
    text = "".join(part.text for part in parts if isinstance(part, TextDelta))
    calls = [part for part in parts if isinstance(part, ToolCall)]
    usage = next((part for part in parts if isinstance(part, Usage)), Usage())
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    reason = _finish_reason(usage, bool(calls))
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(usage)}


async def _events(parts: AsyncIterator[ReplyPart], head: dict[str, Any], with_usage: bool) -> AsyncIterator[bytes]:
    """Server-sent chunks: the role, deltas and calls, the reason, the usage if it was asked for, [DONE]."""
    head = {**head, "object": "chat.completion.chunk"}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sse({**head, "choices": [choice]} | ({"usage": None} if with_usage else {}))

    calls = 0
    usage = Usage()
    yield chunk({"role": "assistant", "content": ""})
    try:
        async for part in parts:
            if isinstance(part, TextDelta):
                yield chunk({"content": part.text})
            elif isinstance(part, ToolCall):
                yield chunk({"tool_calls": [{"index": calls, **_call(part)}]})
                calls += 1
            else:
                usage = part
    except ParleyError as error:
        yield sse(envelope_of(error))
        return  # without [DONE] and finish_reason: a failure is never taken for the end of the reply
    yield chunk({}, _finish_reason(usage, calls > 0))
    if with_usage:
        yield sse({**head, "choices": [], "usage": _usage(usage)})
    yield DONE


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _finish_reason(usage: Usage, called: bool) -> str:
    return "tool_calls" if called and usage.finish_reason == "stop" else usage.finish_reason


def _usage(usage: Usage) -> dict[str, int]:
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


CHAT_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The completion; with `stream`, as events",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["id", "object", "choices", "usage"]}},
            EVENT_STREAM: {"schema": {"type": "string"}},
        },
    }
}
