"""A language model behind any OpenAI-compatible server (vLLM, our own worker): HTTP with server-sent events.

Knows nothing of sessions, and of the server only its URL. Closing a reply closes its connection at once, which is how
such servers learn to stop writing. A request is sent again only where the server cannot have begun on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from app import tracing
from app.errors import BadRequest, ParleyError, WorkerUnavailable
from app.workers.base import ChatRequest, Health, ReplyPart
from app.workers.history import TemplateRules, normalised, without_oldest_turns
from app.workers.openai_stream import TOO_LONG, Reply, events_of, refusal_of

CONNECT_SECONDS: Final = 5.0  # a server on this network answers in milliseconds, or is down
HEALTH_SECONDS: Final = 3.0
RETRY_SECONDS: Final = (0.05, 0.2)  # pauses before a request is sent again; a caller waits for them


class OpenAIChat:
    """Satisfies LanguageModel over POST {base_url}/chat/completions."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        model: str = "",
        timeout_seconds: float = 60.0,
    ) -> None:
        """A `base_url` without a path gets /v1; `model` wins over a request's; `timeout_seconds` bounds silence."""
        self.base_url = base_url.rstrip("/") + ("" if urlsplit(base_url).path.strip("/") else "/v1")
        self.model = model
        self._template = TemplateRules()  # learnt from refusals: a server does not tell its chat template
        # No proxy and no .netrc from the environment: the worker's URL and key are the whole truth.
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            # uvicorn closes an idle connection after 5 s; one that is about to be closed must not carry a request.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=3.0),
            trust_env=False,
        )

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """Deltas as they come, whole tool calls, one Usage. Raises WorkerError, and BadRequest if the server does.

        The oldest turns are left out where the server says that its context is too small.
        """
        reply = Reply()
        response = await self._fitting(request)
        try:
            async with aclosing(events_of(response)) as events:
                async for event in events:
                    for delta in reply.take(event):
                        yield delta
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            await response.aclose()
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

    async def _fitting(self, request: ChatRequest) -> httpx.Response:
        """The open answer to as much of the history as the server has room for."""
        whole = messages = normalised(request.messages)
        left_out = 0
        while True:
            try:
                return await self._accepted(replace(request, messages=normalised(messages, self._template)))
            except BadRequest as refusal:
                if (learnt := self._template.learn(refusal.message)) != self._template:
                    self._template = learnt
                    continue
                # 1, 2, 4, 8 turns: the same number for many turns in a row, so that the prompt's beginning is the same
                # and the server finds it in its KV cache.
                left_out = left_out * 2 or 1
                shorter = without_oldest_turns(whole, left_out) if refusal.code == TOO_LONG else None
                if shorter is None:
                    raise
                messages = shorter

    async def _accepted(self, request: ChatRequest) -> httpx.Response:
        """The open answer of a server that took the request. Raises the refusal of one that did not."""
        url = f"{self.base_url}/chat/completions"
        pauses = iter(RETRY_SECONDS)
        while True:
            try:
                response = await self._http.send(
                    self._http.build_request("POST", url, json=self._body(request), headers=tracing.headers()),
                    stream=True,
                )
            except httpx.ConnectError as error:
                refusal: ParleyError = self._unreachable(error)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error
            else:
                if response.status_code == httpx.codes.OK:
                    return response
                refusal = await refusal_of(response)
                # A worker that is full names its own time; a bare 503 comes from a server that starts or restarts.
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or "retry-after" in response.headers:
                    raise refusal
            if (pause := next(pauses, None)) is None:
                raise refusal
            await asyncio.sleep(pause)

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
