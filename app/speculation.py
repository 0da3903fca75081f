"""A reply that is begun before the caller has certainly ended. Knows no turn, no events and no audio.

The language model is asked for what it would be asked for if the caller had ended, and what it writes is kept here.
It is given out to whoever then asks for exactly the same, and to nobody else: a word more from the caller makes another
prompt. Tools are run by those who read a reply, so none is run for one that is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from app import metrics
from app.reply import ahead, close
from app.workers.base import ChatRequest, Health, LanguageModel, ReplyPart

PARTS_AHEAD = 64  # written before somebody wants them: a turn ends within a second or two


class Speculation:
    """Satisfies LanguageModel over another one; at most one reply is begun early."""

    def __init__(self, language: LanguageModel) -> None:
        self._language = language
        self._begun: _Begun | None = None

    async def begin(self, request: ChatRequest) -> None:
        """Starts on it, and drops what was begun before."""
        await self.drop()
        self._begun = _Begun(request, self._language)

    async def drop(self) -> None:
        """Forgets what was begun, and frees the language model."""
        begun, self._begun = self._begun, None
        if begun is not None:
            metrics.SPECULATIONS.labels("dropped").inc()
            await begun.close()

    async def reply(self, request: ChatRequest) -> AsyncGenerator[ReplyPart, None]:
        """The reply begun early where it was for this request, else a new one. Raises WorkerError, BadRequest."""
        begun = self._begun
        if begun is not None and begun.request == request and not begun.failed:
            self._begun = None
            metrics.SPECULATIONS.labels("used").inc()
            parts: AsyncIterator[ReplyPart] = begun.parts()
        else:
            await self.drop()
            parts = self._language.reply(request)
        try:
            async for part in parts:
                yield part
        finally:
            await close(parts)

    async def health(self) -> Health:
        """The language model's. Raises WorkerUnavailable."""
        return await self._language.health()


class _Begun:
    """One reply, being written."""

    def __init__(self, request: ChatRequest, language: LanguageModel) -> None:
        self.request = request
        self._parts = ahead(language.reply(request), PARTS_AHEAD)
        self._first = asyncio.create_task(self._start())

    @property
    def failed(self) -> bool:
        """It has ended in an error before its first part; asked again, it may not."""
        return self._first.done() and not self._first.cancelled() and self._first.exception() is not None

    async def parts(self) -> AsyncGenerator[ReplyPart, None]:
        """All of it, from the beginning."""
        try:
            if (first := await self._first) is not None:
                yield first
                async for part in self._parts:
                    yield part
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends the writing."""
        self._first.cancel()
        await asyncio.wait({self._first})
        _ = self._first.cancelled() or self._first.exception()  # seen: whoever wants the reply is told again
        await close(self._parts)

    async def _start(self) -> ReplyPart | None:
        return await anext(self._parts, None)
