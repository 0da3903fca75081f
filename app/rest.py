"""What all REST routes share: the error envelope, request ids, body limits, and the list of models.

Knows no session and no engine. `install` makes an application answer every failure, of routing and validation too, with
`{"error": {"message", "type", "param", "code"}}`, as OpenAI's clients expect (protocol: OpenAI REST, openapi.yaml).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.access import Access, AccessMiddleware, denial_status
from app.errors import (
    AccessDenied,
    BadRequest,
    DatabaseUnavailable,
    GateMissed,
    InsufficientMemory,
    JobsUnavailable,
    LimitReached,
    NotFound,
    PackInUse,
    ParleyError,
    ServiceFull,
    UnknownModel,
    WireError,
    WorkerBusy,
    WorkerUnavailable,
)
from app.faults import refusal
from app.names import Models

MAX_UPLOAD: Final = 25 * 1024 * 1024  # bytes of an audio file, as OpenAI's
MAX_MULTIPART: Final = MAX_UPLOAD + 1024 * 1024  # the file, its boundaries and the other fields
MAX_DATASET: Final = 8 * 1024**3  # bytes of a file uploaded for fine-tuning: 70 hours of 16 kHz speech
MAX_JSON: Final = 4 * 1024 * 1024  # bytes: a long chat with tools is a tenth of it
SOON_SECONDS: Final = 60  # the longest wait that clients keep
RETRY_AFTER: Final = "1"  # seconds; a slot frees when an utterance or reply ends


class ErrorBody(BaseModel):
    """One error; all four keys are always present."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


DESCRIPTIONS: Final = {
    400: "The request cannot be accepted",
    401: "No or wrong API key",
    403: "Foreign Host or Origin, or a key of another scope",
    404: "No such route, model, file or job",
    413: "The body is too large",
    429: "The key has used what it may; see Retry-After",
    503: "The worker is full or down; see Retry-After",
}
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ErrorEnvelope, "description": text} for status, text in DESCRIPTIONS.items()
} | {"default": {"model": ErrorEnvelope, "description": "Any other failure"}}
"""For `responses=`; `default` also keeps FastAPI from documenting its own 422, which is never sent."""

api_key = HTTPBearer(auto_error=False, description="A configured API key; not asked for when none is configured")
"""Documents the key for OpenAPI; `AccessMiddleware` checks it."""


def api_router() -> APIRouter:
    """A router whose routes document the key and the errors."""
    return APIRouter(prefix="/v1", responses=ERRORS, dependencies=[Security(api_key)], route_class=StrictRoute)


class StrictRequest(Request):
    """A request whose JSON is read by RFC 8259: no NaN, no lone surrogate (no UTF-8 can hold it), no deep nesting."""

    async def json(self) -> Any:
        """The body. Raises json.JSONDecodeError, which becomes 400."""
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A route that reads its body as StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given a strict request."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly


def install(app: FastAPI, access: Access) -> None:
    """Error envelope, request ids, access check, body limits and CORS for an application."""
    app.add_exception_handler(ParleyError, _on_parley_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_crash)
    app.router.default = _no_route
    # The last one added is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(AccessMiddleware, access=access, refuse=error_response)
    if access.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=access.origins, allow_methods=["*"], allow_headers=["*"], max_age=600
        )
    app.add_middleware(RequestIds)


def status_of(error: ParleyError) -> int:
    """The HTTP status of an error of ours."""
    if isinstance(error, UnknownModel | NotFound):
        return 404
    if isinstance(error, BadRequest):
        return 400
    if isinstance(error, AccessDenied):
        return denial_status(error)
    if isinstance(error, InsufficientMemory):
        return 507
    if isinstance(error, PackInUse | GateMissed):
        return 409
    if isinstance(error, LimitReached):
        return 429
    if isinstance(error, WorkerBusy | WorkerUnavailable | ServiceFull | JobsUnavailable | DatabaseUnavailable):
        return 503
    return 502 if isinstance(error, WireError) else 500


def envelope(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The error envelope; its type follows the status."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def envelope_of(error: ParleyError) -> dict[str, Any]:
    """The envelope of an error of ours, as a body or as an event of a stream that has begun."""
    return envelope(status_of(error), error.message, param=error.param, code=error.code)


def error_response(error: ParleyError) -> JSONResponse:
    """The whole answer for an error of ours."""
    metrics.REFUSALS.labels(error.code).inc()
    status = status_of(error)
    headers = {"retry-after": RETRY_AFTER} if status == 503 else {}
    if isinstance(error, LimitReached):
        headers["retry-after"] = str(error.retry_after)
        if error.retry_after > SOON_SECONDS:
            headers["x-should-retry"] = "false"  # OpenAI's SDKs would try again after seconds all the same
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(envelope_of(error), status, headers)


async def _on_parley_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ParleyError)
    return error_response(error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        why = first.get("ctx", {}).get("error", "expected an object")
        return JSONResponse(envelope(400, f"The body is not JSON: {why}", code="invalid_json"), 400)
    if first["loc"] == ("body",) and isinstance(first["input"], bytes):
        got = request.headers.get("content-type", "none")
        return error_response(BadRequest(f"the body: got Content-Type {got}, expected application/json"))
    return error_response(refusal(error.errors(), skip=1))  # without "body", "query"


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    path = f"{request.scope.get('method', 'WebSocket')} {request.scope['path']}"
    codes = {400: "invalid_value", 404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}
    messages = {404: f"Unknown request URL: {path}", 405: f"Not allowed: {path}"}
    message = messages.get(error.status_code, str(error.detail))
    body = envelope(error.status_code, message, code=codes.get(error.status_code))
    return JSONResponse(body, error.status_code, error.headers)


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    # Starlette's own answer to a WebSocket is a close before the upgrade, which a client sees as 403.
    raise HTTPException(404)


async def _on_crash(request: Request, error: Exception) -> JSONResponse:
    # Starlette sends this from outside of RequestIds, and raises the error again for the server's log.
    headers = {"x-request-id": request.scope.get("request_id", ""), "x-should-retry": "false"}
    return JSONResponse(envelope(500, "The service failed; its log says why", code="server_error"), 500, headers)


class RequestIds:
    """`x-request-id` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Names the request and marks its answer."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        scope["request_id"] = f"req_{uuid.uuid4().hex}"

        async def marked(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                MutableHeaders(scope=message)["x-request-id"] = scope["request_id"]
            await send(message)

        return await self._app(scope, receive, marked)


class BodyLimit:
    """413 for a body beyond MAX_MULTIPART or MAX_JSON, before it is kept anywhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts what arrives, whatever Content-Length says."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        multipart = headers.get("content-type", "").lower().startswith("multipart/")
        limit = MAX_MULTIPART if multipart else MAX_JSON
        if multipart and scope["path"] == "/v1/files":
            limit = MAX_DATASET  # kept on disk, and operators' alone
        announced = headers.get("content-length", "0")
        got = int(announced) if announced.isascii() and announced.isdigit() else 0

        def too_large() -> HTTPException:
            return HTTPException(413, f"The body has {got} bytes or more, expected no more than {limit}")

        if got > limit:
            # The connection stays open: closed in mid-upload it is reset, and the client never reads the answer.
            return await (await _on_http_error(Request(scope), too_large()))(scope, receive, send)
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > limit:
                raise too_large()
            return message

        return await self._app(scope, counted, send)


def model_routes(models: Models) -> APIRouter:
    """GET /v1/models and /v1/models/{id}: the packs; a name that stands for one is found too, but not listed."""
    router = api_router()
    created = int(time.time())

    def entry(name: str) -> dict[str, Any]:
        """OpenAI's model object, and what our page's menus show."""
        return {"id": name, "object": "model", "created": created, "owned_by": "parley", **models.about(name)}

    @router.get("/models")
    def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [entry(name) for name in models.names()]}

    @router.get("/models/{model:path}")
    def get_model(model: str) -> dict[str, Any]:
        models.served(model)
        return entry(model)

    return router
