"""A language model behind any OpenAI-compatible server (vLLM, our own worker): HTTP with server-sent events.

Knows nothing of sessions, and of the server only its URL. Closing a reply closes its connection at once, which is how
such servers learn to stop writing.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from app import tracing
from app.errors import BadRequest, ParleyError, WireError, WorkerBusy, WorkerError, WorkerUnavailable
from app.workers.base import ChatRequest, Health, ReplyPart, TextDelta, ToolCall, Usage

CONNECT_SECONDS: Final = 5.0  # a server on this network answers in milliseconds, or is down
HEALTH_SECONDS: Final = 3.0
MAX_LINE: Final = 4 * 1024 * 1024  # bytes of one event; a longer one is no chunk of a reply
MAX_ERROR: Final = 64 * 1024  # bytes read of an error's body


class OpenAIChat:
    """Satisfies LanguageModel over POST {base_url}/chat/completions."""

    def __init__(self, base_url: str, *, api_key: str = "", model: str = "", timeout_seconds: float = 60.0) -> None:
        """A `base_url` without a path gets /v1; `model` wins over a request's; `timeout_seconds` bounds silence."""
        self.base_url = base_url.rstrip("/") + ("" if urlsplit(base_url).path.strip("/") else "/v1")
        self.model = model
        # No proxy and no .netrc from the environment: the worker's URL and key are the whole truth.
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            # uvicorn closes an idle connection after 5 s; one that is about to be closed must not carry a request.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=3.0),
            trust_env=False,
        )

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """Deltas as they come, whole tool calls, one Usage. Raises WorkerError, and BadRequest if the server does."""
        reply = _Reply()
        url = f"{self.base_url}/chat/completions"
        try:
            async with self._http.stream("POST", url, json=self._body(request), headers=tracing.headers()) as response:
                if response.status_code != httpx.codes.OK:
                    raise await _refusal(response)
                async with aclosing(_events(response)) as events:
                    async for event in events:
                        for delta in reply.take(event):
                            yield delta
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        for part in reply.finish():
            yield part

    async def health(self) -> Health:
        """What our own worker says of itself, or that another server is there. Raises WorkerUnavailable."""
        try:
            own = await self._http.get(f"{self.base_url.removesuffix('/v1')}/health", timeout=HEALTH_SECONDS)
            if own.is_error and own.status_code != httpx.codes.NOT_FOUND:
                raise WorkerUnavailable(f"{own.url} answered {own.status_code}: {own.text[:200]}")
            if own.is_success and (said := _health_of(own)) is not None:
                return said
            listed = await self._http.get(f"{self.base_url}/models", timeout=HEALTH_SECONDS)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            models = [str(entry["id"]) for entry in listed.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            message = f"{listed.url} answered {listed.status_code} without a list of models"
            raise WorkerUnavailable(message) from error
        model = self.model or (models[0] if models else "")
        return Health("language", "openai", model, {"url": self.base_url, "models": models})

    async def close(self) -> None:
        """Closes the connections that are kept for the next request."""
        await self._http.aclose()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model or request.model or None,  # left out: the server's own
            "messages": list(request.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.tools:  # servers refuse tool_choice without tools
            body |= {"tools": list(request.tools), "tool_choice": request.tool_choice}
        optional = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": list(request.stop) or None,
        }
        return {name: value for name, value in (body | optional).items() if value is not None}

    def _unreachable(self, error: httpx.HTTPError) -> WorkerUnavailable:
        reason = str(error) or type(error).__name__
        return WorkerUnavailable(f"The language worker at {self.base_url} does not answer: {reason}")


def _health_of(response: httpx.Response) -> Health | None:
    """The Health that our own worker's /health answers; None for another server's answer."""
    try:
        return Health(**response.json())
    except (ValueError, TypeError):
        return None


async def _events(response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
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


class _Reply:
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


async def _refusal(response: httpx.Response) -> ParleyError:
    """The error that an answer other than 200 stands for."""
    body = b""
    async with aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_ERROR:
                break
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
    if code == WorkerBusy.code or status in (429, 503):
        return WorkerBusy(message)
    if code == WireError.code:
        return WireError(message)
    # What the caller sent is at fault, not the worker; within a stream the error's type says so, not the status.
    if status in (400, 413, 422) or (status == 500 and fields.get("type") == "invalid_request_error"):
        return BadRequest(message, param=param if isinstance(param, str) else None)
    return WorkerError(message)
