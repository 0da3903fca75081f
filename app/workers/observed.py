"""What a worker's requests cost and whose they are: metrics, a span and a log line each. Knows no engine and no route.

A request counts as cancelled when the worker did not end it: its peer left first, mostly because a caller interrupted.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics, tracing

log = logging.getLogger("parley.worker")


WORK: Final = ("/wire/", "/v1/audio/", "/v1/chat/")
"""Below these is the work of a stage; health, lists and packs are none."""


class Observed:
    """ASGI middleware around the work of one stage."""

    def __init__(self, app: ASGIApp, stage: str) -> None:
        self._app = app
        self._stage = stage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on and counts what came of it."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if not path.startswith(WORK):
            return await self._app(scope, receive, send)
        ended = False

        async def watched(message: Message) -> None:
            nonlocal ended
            kind = message["type"]
            ended |= kind == "websocket.close" or (kind.endswith("response.body") and not message.get("more_body"))
            await send(message)

        began = time.perf_counter()
        with (
            tracing.carried_on(Headers(scope=scope), self._stage),
            metrics.OPEN_WORK.labels(self._stage).track_inprogress(),
        ):
            try:
                await self._app(scope, receive, watched)
            finally:
                seconds = time.perf_counter() - began
                metrics.WORK.labels(self._stage).observe(seconds)
                if not ended:
                    metrics.CANCELLED.labels(self._stage).inc()
                outcome = "ended" if ended else "cancelled"
                log.info("[%s] %s %s after %.2f s", tracing.session.get(), path, outcome, seconds)
