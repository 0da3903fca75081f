"""The gateway's application: Realtime WebSocket, REST, health and the page. Receives ready workers; knows no engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from fastapi import FastAPI, Response, WebSocket
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app import events, metrics, tracing, vad
from app.access import Access, accepted_subprotocol
from app.catalogue import Catalogue
from app.client_secrets import client_secret_routes
from app.database import Database
from app.errors import AccessDenied, BadRequest, LimitReached, ParleyError, ResumedElsewhere, ServiceFull, SlowClient
from app.jobs.service import Jobs, off_routes
from app.loop_load import LoopLoad
from app.packs import Pack
from app.rest import envelope_of, error_response, install, model_routes
from app.rest_chat import chat_routes
from app.rest_speech import speech_routes
from app.rest_transcription import transcription_routes
from app.seats import Seats
from app.server_events import Error
from app.session import SESSION_SECONDS, Session
from app.speaking import Workers
from app.store.conversations import begin
from app.store.rest_conversations import conversation_routes
from app.tools import Toolbox
from app.visits import visit_of
from app.workers.base import LanguageModel, Recognizer, Synthesizer

log = logging.getLogger("parley.gateway")

WEB = Path(__file__).parent / "web"
HEALTH_SECONDS = 3.0  # a stage that does not answer by then is down; the page waits 4 s
CLOSE_SECONDS = 1.0  # for a last frame to leave
QUIET_SECONDS = 0.1  # between two looks whether a caller's turn is over
POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER = 1008, 1012, 1013  # RFC 6455 and the IANA registry of close codes
CONTENT_POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; worker-src 'self' blob:; img-src 'self' data:; "
    "media-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What the operator may choose about sessions."""

    audio_ahead_seconds: float = 4.0
    """How far a reply's audio may be sent before the time at which it is heard."""
    patience_seconds: float = 30.0
    """A client that takes no frame for this long has its session ended."""
    max_sessions: int = 256
    """Callers at once; further ones are refused at the handshake."""
    drain_seconds: float = 20.0
    """How long a turn under way may take to its end once this process is asked to leave."""
    packs: Path | None = None
    """Folder of the packs that a session or request may name; None: only the default one."""
    default_pack: str = ""
    """The default pack as the operator named it; NAME@VERSION keeps that version for good."""


def create_app(
    pack: Pack,
    workers: Workers,
    *,
    access: Access | None = None,
    options: GatewayOptions | None = None,
    jobs: Jobs | None = None,
    conversations: Database | None = None,
) -> FastAPI:
    """The application that callers, developers, operators and the pages talk to."""
    options = options or GatewayOptions()

    load = LoopLoad()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _watched(load):
            with jobs or contextlib.nullcontext():
                yield

    app = FastAPI(title="Parley", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.seats = seats = Seats(options.max_sessions, drain_seconds=options.drain_seconds, load=load)
    listening = vad.SharedVad()
    catalogue = Catalogue(pack, options.packs, name=options.default_pack)
    app.include_router(model_routes(catalogue))
    app.include_router(transcription_routes(workers.recognizer, catalogue))
    app.include_router(speech_routes(workers.synthesizer, catalogue))
    app.include_router(chat_routes(workers.language, catalogue))
    access = access or Access()
    if access.accounts is not None:
        app.include_router(client_secret_routes(access.accounts, catalogue))
    app.include_router(conversation_routes(conversations))
    for router in jobs.routers if jobs else (off_routes(),):
        app.include_router(router)
    app.mount("/web", StaticFiles(directory=WEB), name="web")
    app.add_middleware(SafeHeaders)
    install(app, access)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/operator", include_in_schema=False)
    async def operator_page() -> FileResponse:
        return FileResponse(WEB / "operator.html")

    @app.get("/health")
    async def health(response: Response) -> dict[str, Any]:
        stages: dict[str, Recognizer | LanguageModel | Synthesizer] = {
            "recognizer": workers.recognizer,
            "language": workers.language,
            "synthesizer": workers.synthesizer,
        }
        states = await asyncio.gather(*(_state(worker) for worker in stages.values()))
        status = "ok" if all(state["state"] == "ok" for state in states) else "degraded"
        if seats.draining:
            status, response.status_code = "draining", 503  # by which a load balancer sends nobody here
        pack = catalogue.find("")
        return {
            "status": status,
            "workers": dict(zip(stages, states, strict=True)),
            "pack": {
                "name": pack.name,
                "version": pack.version,
                "language": pack.language,
                "description": pack.description,
                "knows": pack.knows,
                "examples": list(pack.examples),
                "greeting": pack.greeting,
            },
        }

    @app.get("/metrics", include_in_schema=False)
    def metrics_page() -> Response:
        body, content_type = metrics.page()
        return Response(body, media_type=content_type)

    @app.websocket("/v1/realtime")
    async def realtime(
        socket: WebSocket,
        model: str = "",
        intent: str = "",
        parley_timings: bool = False,
        parley_caller: str = "",
        parley_keep_audio: bool = False,
        parley_resume: str = "",
    ) -> None:
        visit = visit_of(socket.scope)
        async with contextlib.AsyncExitStack() as held:
            try:
                start, recorder = await begin(
                    conversations,
                    visit.caller,
                    caller_id=parley_caller,
                    keep_audio=parley_keep_audio,
                    resume=parley_resume,
                )
                if recorder is not None:
                    await held.enter_async_context(recorder)
                model = start.changes.get("model") or model
                pack = catalogue.find(model)
                held.enter_context(seats)
                await held.enter_async_context(visit.call())
                session = Session(
                    pack,
                    workers,
                    vad=listening,
                    model=model or pack.name,
                    toolbox=Toolbox(pack.language_model.tools, now=lambda: datetime.now().astimezone()),
                    answers=start.changes.get("type", intent or "realtime") != "transcription",
                    start=start,
                    timings=parley_timings,
                    audio_ahead_seconds=options.audio_ahead_seconds,
                )
            except ParleyError as error:
                await _deny(socket, error)
                return
            held.enter_context(metrics.SESSIONS.track_inprogress())
            await socket.accept(subprotocol=accepted_subprotocol(socket.scope.get("subprotocols", ())))
            tracing.session.set(session.id)
            visit.measure = lambda: session.audio_seconds
            async with session:
                watches = [visit.watch(), *([recorder.keep()] if recorder is not None else [])]
                await _converse(socket, session, options.patience_seconds, seats, watches)

    return app


@contextlib.asynccontextmanager
async def _watched(load: LoopLoad) -> AsyncIterator[None]:
    await asyncio.to_thread(vad.load)  # before the first caller, whom it would keep waiting with all others
    watching = [asyncio.create_task(metrics.watch_loop()), asyncio.create_task(load.watch())]
    yield
    for task in watching:
        task.cancel()


async def _deny(socket: WebSocket, error: ParleyError) -> None:
    """Refuses the handshake in words: by status and body; to a page, whose browser hides both, by event and close."""
    if "origin" not in socket.headers:
        await socket.send_denial_response(error_response(error))
        return
    metrics.REFUSALS.labels(error.code).inc()
    await socket.accept(subprotocol=accepted_subprotocol(socket.scope.get("subprotocols", ())))
    await socket.send_text(Error(envelope_of(error)["error"] | {"event_id": None}).dump())
    reason = error.message.encode()[:123].decode(errors="ignore")  # RFC 6455 section 5.5: a close holds no more
    await socket.close(TRY_AGAIN_LATER if isinstance(error, ServiceFull | LimitReached) else POLICY_VIOLATION, reason)


async def _converse(
    socket: WebSocket,
    session: Session,
    patience_seconds: float,
    seats: Seats,
    watches: Sequence[Coroutine[Any, Any, NoReturn]],
) -> None:
    """Two pumps, until the client leaves or stops reading, its hour is over, one of `watches` raises why it must end,

    or the process leaves and it is quiet.
    """
    code, reason = 1000, ""
    writing = asyncio.create_task(_write(socket, session, patience_seconds))
    reading = asyncio.create_task(_read(socket, session))
    leaving = asyncio.create_task(_quiet_while_draining(session, seats))
    pumps = {writing, reading, leaving, *(asyncio.create_task(watch) for watch in watches)}
    try:
        done, _ = await asyncio.wait(pumps, timeout=SESSION_SECONDS, return_when=asyncio.FIRST_COMPLETED)
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


async def _state(worker: Recognizer | LanguageModel | Synthesizer) -> dict[str, Any]:
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            health = await worker.health()
    except (ParleyError, TimeoutError) as error:
        return {"state": "down", "reason": getattr(error, "message", f"no answer within {HEALTH_SECONDS:.0f} s")}
    return {"state": "ok", "engine": health.engine, "model": health.model, "detail": dict(health.detail)}


class SafeHeaders:
    """Headers that keep the page from loading or sending anything elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Adds the headers to HTTP answers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = CONTENT_POLICY
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                if scope["path"].startswith("/web/") or scope["path"] in ("/", "/operator"):
                    headers["cache-control"] = "no-cache"  # revalidated: a new release's page is seen at once
            await send(message)

        await self._app(scope, receive, send_safely)
