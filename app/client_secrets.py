"""POST /v1/realtime/client_secrets: a short-lived key for a browser, and the session that it begins with.

Knows no socket. `parley_caller` and `parley_keep_audio` are ours; a stock client leaves them out.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from app import session_config
from app.accounts import Accounts
from app.callers import Grant
from app.catalogue import Catalogue
from app.errors import BadRequest
from app.rest import api_router
from app.server_events import new_id
from app.visits import visit_of

DEFAULT_SECONDS = 600  # protocol section 9, as the bounds below
CALLER_ID_LENGTH = 128


class ExpiresAfter(BaseModel):
    """How long it opens sessions; those it has opened go on."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=10, le=7200)] = DEFAULT_SECONDS


class SecretBody(BaseModel):
    """What the route takes; other fields are ignored."""

    expires_after: ExpiresAfter | None = None
    session: dict[str, Any] | None = None
    """As in session.update."""
    parley_caller: Annotated[str, Field(max_length=CALLER_ID_LENGTH, pattern=r"^\P{C}*$")] = ""
    """Under which the conversation is kept, where conversations are kept."""
    parley_keep_audio: bool = False
    """The caller has consented to audio being kept with it."""


def client_secret_routes(accounts: Accounts, catalogue: Catalogue) -> APIRouter:
    """The route."""
    router = api_router()

    @router.post("/realtime/client_secrets")
    async def create(request: Request, body: SecretBody | None = None) -> dict[str, Any]:
        body = body or SecretBody()
        changes = body.session or {}
        session = _begun(changes, catalogue)
        expires_at = int(time.time()) + (body.expires_after or ExpiresAfter()).seconds
        grant = Grant(changes, body.parley_caller, body.parley_keep_audio)
        secret = await accounts.make_secret(visit_of(request.scope).caller, grant, expires_at)
        return {"value": secret, "expires_at": expires_at, "session": {"id": new_id("sess"), **session}}

    return router


def _begun(changes: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The session as its first event will show it. Raises BadRequest for what a session.update could not say."""
    model, kind = changes.get("model") or "", changes.get("type") or "realtime"
    if not isinstance(model, str):
        raise BadRequest(f"session.model must be a name, got {model!r}", param="session.model")
    if kind not in ("realtime", "transcription"):
        raise BadRequest(f"session.type must be realtime or transcription, got {kind!r}", param="session.type")
    pack = catalogue.find(model)
    defaults = session_config.initial_config(pack, model or pack.name, answers=kind == "realtime")
    return session_config.shown(session_config.changed(defaults, changes, defaults, pack))
