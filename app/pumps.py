"""The two pumps of one caller's socket, and in which words a call is refused or ends. Knows no route and no engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn

from starlette.websockets import WebSocket, WebSocketDisconnect

from app import events, metrics
from app.access import accepted_subprotocol
from app.errors import (
    AccessDenied,
    BadRequest,
    LimitReached,
    ParleyError,
    ResumedElsewhere,
    ServiceFull,
    SlowClient,
)
from app.rest import envelope_of, error_response
from app.seats import Seats
from app.server_events import Error
from app.session import Session

log = logging.getLogger("parley.gateway")

CLOSE_SECONDS = 1.0  # for a last frame to leave
QUIET_SECONDS = 0.1  # between two looks whether a caller's turn is over
POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER = 1008, 1012, 1013  # RFC 6455 and the IANA registry of close codes


async def deny(socket: WebSocket, error: ParleyError) -> None:
    """Refuses the handshake in words: by status and body; to a page, whose browser hides both, by event and close."""
    if "origin" not in socket.headers:
        await socket.send_denial_response(error_response(error))
        return
    metrics.REFUSALS.labels(error.code).inc()
    await socket.accept(subprotocol=accepted_subprotocol(socket.scope.get("subprotocols", ())))
    await socket.send_text(Error(envelope_of(error)["error"] | {"event_id": None}).dump())
    reason = error.message.encode()[:123].decode(errors="ignore")  # RFC 6455 section 5.5: a close holds no more
    await socket.close(TRY_AGAIN_LATER if isinstance(error, ServiceFull | LimitReached) else POLICY_VIOLATION, reason)


async def converse(
    socket: WebSocket,
    session: Session,
    patience_seconds: float,
    session_seconds: float,
    seats: Seats,
    watches: Sequence[Coroutine[Any, Any, NoReturn]],
) -> None:
    """Two pumps, until the client leaves or stops reading, its time is over, or the process leaves and it is quiet.

    `session_seconds`: that time. Each of `watches` ends the call by raising why.
    """
    code, reason = 1000, ""
    writing = asyncio.create_task(_write(socket, session, patience_seconds))
    reading = asyncio.create_task(_read(socket, session))
    leaving = asyncio.create_task(_quiet_while_draining(session, seats))
    pumps = {writing, reading, leaving, *(asyncio.create_task(watch) for watch in watches)}
    try:
        done, _ = await asyncio.wait(pumps, timeout=session_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            expired = BadRequest("Your session hit the maximum duration of 60 minutes.", code="session_expired")
            await _last_words(session, expired, writing)
        for task in done:
            task.result()
        if leaving in done:
            code, reason = SERVICE_RESTART, "This service is being replaced; call again"
    except WebSocketDisconnect:
        return
    except (AccessDenied, LimitReached, ResumedElsewhere) as error:
        await _last_words(session, error, writing)
        code, reason = POLICY_VIOLATION, error.message
    except SlowClient as error:
        log.warning("[%s] ended: %s", session.id, error.message)
        metrics.REFUSALS.labels(error.code).inc()
        code, reason = POLICY_VIOLATION, error.message
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
    # RuntimeError: closed by the peer meanwhile. TimeoutError: it waits behind what the peer has not taken.
    with contextlib.suppress(RuntimeError, TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await socket.close(code, reason)


async def _last_words(session: Session, error: ParleyError, writing: asyncio.Task[None]) -> None:
    """Tells the client why its session ends, and gives the frame time to leave."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await session.refuse(error, None)
            await asyncio.wait({writing})


async def _quiet_while_draining(session: Session, seats: Seats) -> None:
    """Returns when the process is being replaced and this caller's turn has come to its end."""
    await seats.until_draining()
    while True:
        if session.is_quiet:
            return
        await asyncio.sleep(QUIET_SECONDS)


async def _read(socket: WebSocket, session: Session) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        try:
            frame = message.get("text")
            if frame is None:
                raise BadRequest("got a binary frame, expected JSON text", code="invalid_event")
            event = events.parse(frame)
        except BadRequest as error:
            await session.refuse(error, error.event_id)
        else:
            await session.handle(event)


async def _write(socket: WebSocket, session: Session, patience_seconds: float) -> None:
    async for frame in session.frames():
        try:
            async with asyncio.timeout(patience_seconds):
                await socket.send_text(frame)
        except TimeoutError:
            raise SlowClient(f"the client took nothing for {patience_seconds:g} s") from None
        except RuntimeError:  # the server has closed meanwhile: the client no longer answered its pings
            raise WebSocketDisconnect(1006) from None
