"""The gateway's application: Realtime WebSocket, REST, health and the page. Receives ready workers; knows no engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response, WebSocket
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics, tracing, vad
from app.access import Access, accepted_subprotocol
from app.catalogue import Catalogue, described
from app.client_secrets import client_secret_routes
from app.database import Database
from app.errors import ParleyError
from app.jobs.service import Jobs, off_routes
from app.loop_load import LoopLoad
from app.packs import Pack
from app.pumps import converse, deny
from app.rest import install, model_routes
from app.rest_chat import chat_routes
from app.rest_speech import speech_routes
from app.rest_transcription import transcription_routes
from app.seats import Seats
from app.session import SESSION_SECONDS, Session
from app.speaking import Workers
from app.store.conversations import begin
from app.store.rest_conversations import conversation_routes
from app.tools import Toolbox
from app.visits import visit_of
from app.workers.base import LanguageModel, Recognizer, Synthesizer

WEB = Path(__file__).parent / "web"
HEALTH_SECONDS = 3.0  # a stage that does not answer by then is down; the page waits 4 s
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
    session_seconds: float = SESSION_SECONDS
    """A session lasts no longer."""
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
        try:
            pack = catalogue.find("")
        except ParleyError as error:  # deleted or damaged; calls of other packs go on
            said: dict[str, Any] = {"error": error.message}
            status = "degraded" if status == "ok" else status
        else:
            said = {"name": pack.name, **described(pack)}
        return {"status": status, "workers": dict(zip(stages, states, strict=True)), "pack": said}

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
                    seconds=options.session_seconds,
                )
            except ParleyError as error:
                await deny(socket, error)
                return
            held.enter_context(metrics.SESSIONS.track_inprogress())
            await socket.accept(subprotocol=accepted_subprotocol(socket.scope.get("subprotocols", ())))
            tracing.session.set(session.id)
            visit.measure = lambda: session.audio_seconds
            async with session:
                watches = [visit.watch(), *([recorder.keep()] if recorder is not None else [])]
                await converse(socket, session, options.patience_seconds, options.session_seconds, seats, watches)

    return app


@contextlib.asynccontextmanager
async def _watched(load: LoopLoad) -> AsyncIterator[None]:
    await asyncio.to_thread(vad.load)  # before the first caller, whom it would keep waiting with all others
    watching = [asyncio.create_task(metrics.watch_loop()), asyncio.create_task(load.watch())]
    yield
    for task in watching:
        task.cancel()


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
