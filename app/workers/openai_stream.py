"""What an OpenAI-compatible chat server answers: server-sent events, the reply they add up to, and refusals.

Knows no request and no connection beyond the open response that it reads.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson

from app.errors import (
    BadRequest,
    InsufficientMemory,
    ParleyError,
    WireError,
    WorkerBusy,
    WorkerError,
    WorkerUnavailable,
)
from app.workers.base import ReplyPart, TextDelta, ToolCall, Usage

MAX_LINE: Final = 4 * 1024 * 1024  # bytes of one event; a longer one is no chunk of a reply
MAX_ERROR: Final = 64 * 1024  # bytes read of an error's body
TOO_LONG: Final = "context_length_exceeded"
"""OpenAI's code for a prompt that the model has no room for."""


async def events_of(response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of a stream. Raises WireError for what is none, and for an end without [DONE]."""
    async with aclosing(_lines(response)) as lines:
        async for line in lines:
            if not line.startswith(b"data:"):
                continue  # comments (keep-alives), event names, the blank line between events
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError as error:
                raise WireError(f"The language worker sent an event that is not JSON: {data[:80]!r}") from error
            if not isinstance(event, dict):
                raise WireError(f"The language worker sent {data[:80]!r}, expected a JSON object")
            if event.get("error") or event.get("object") == "error":
                raise _error_of(event, httpx.codes.INTERNAL_SERVER_ERROR)
            yield event
    raise WireError("The language worker's stream ended before [DONE]")


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Lines without their ends. httpx's own aiter_lines also splits at U+2028, which JSON may hold as it is."""
    rest = b""
    async with aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]  # a generator, typed as iterator
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")
            if len(rest) > MAX_LINE:
                raise WireError(f"The language worker sent a line of more than {MAX_LINE} bytes")
    if rest:
        yield rest


@dataclass(slots=True)
class _Fragments:
    """A tool call in the making."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Reply:
    """What a stream's chunks add up to."""

    def __init__(self) -> None:
        self._calls: dict[int, _Fragments] = {}
        self._finish_reason = ""
        self._usage: dict[str, Any] = {}

    def take(self, event: dict[str, Any]) -> list[TextDelta]:
        """The words of one chunk; the rest is kept for `finish`. Raises WireError for another shape."""
        try:
            self._usage = event.get("usage") or self._usage
            words = []
            for choice in event.get("choices") or ():
                delta = choice.get("delta") or {}
                if content := delta.get("content"):
                    words.append(TextDelta(_string(content)))
                for fragment in delta.get("tool_calls") or ():
                    self._assemble(fragment)
                self._finish_reason = _string(choice.get("finish_reason") or self._finish_reason)
            return words
        except (AttributeError, TypeError, ValueError) as error:
            raise WireError(f"The language worker sent a chunk of another shape: {event!r:.200}") from error

    def _assemble(self, fragment: dict[str, Any]) -> None:
        call = self._calls.setdefault(int(fragment.get("index") or 0), _Fragments())
        function = fragment.get("function") or {}
        call.id = _string(fragment.get("id") or call.id)
        call.name = _string(function.get("name") or call.name)
        call.arguments += _string(function.get("arguments") or "")

    def finish(self) -> list[ReplyPart]:
        """Tool calls in order, then the usage. Raises WireError when the reply is not whole."""
        if not self._finish_reason:
            raise WireError("The language worker's reply ended without a finish_reason")
        parts: list[ReplyPart] = []
        for index, call in sorted(self._calls.items()):
            if not call.name:
                raise WireError("The language worker sent a tool call without a name")
            parts.append(ToolCall(call.id or f"call_{index}", call.name, call.arguments or "{}"))
        prompt, completion = (_count(self._usage, name) for name in ("prompt_tokens", "completion_tokens"))
        return [*parts, Usage(prompt, completion, self._finish_reason)]


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"got {type(value).__name__}, expected a string")
    return value


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


async def refusal_of(response: httpx.Response) -> ParleyError:
    """The error that an answer other than 200 stands for."""
    body = b""
    async with aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_ERROR:
                break
    await response.aclose()
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        event = body.decode("utf-8", "replace")[:200]
    return _error_of(event, response.status_code)


def _error_of(event: Any, status: int) -> ParleyError:
    """OpenAI's {"error": {...}}, or vLLM's error object without the envelope, as an error of ours."""
    inner = event.get("error", event) if isinstance(event, dict) else {"message": event}
    fields = inner if isinstance(inner, dict) else {"message": inner}
    message = f"The language worker answered: {fields.get('message') or status}"
    code, param = fields.get("code"), fields.get("param")
    if code == WorkerUnavailable.code:
        return WorkerUnavailable(message)
    if code == InsufficientMemory.code:
        return InsufficientMemory(message)
    if code == WorkerBusy.code or status in (429, 503):
        return WorkerBusy(message)
    if code == WireError.code:
        return WireError(message)
    # What the caller sent is at fault, not the worker; within a stream the error's type says so, not the status.
    if status in (400, 413, 422) or (status == 500 and fields.get("type") == "invalid_request_error"):
        too_long = code == TOO_LONG or "maximum context length" in message  # vLLM 0.32 has only the words
        return BadRequest(message, code=TOO_LONG if too_long else None, param=param if isinstance(param, str) else None)
    return WorkerError(message)
