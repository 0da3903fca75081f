"""/v1/conversations: what is kept of the calls of the key that asks, to be listed, exported and deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from app.database import Database
from app.errors import BadRequest, NotFound
from app.rest import api_router
from app.store import store
from app.store.audio_files import wav
from app.store.conversations import OFF
from app.visits import visit_of

WAV: dict[int | str, dict[str, Any]] = {
    200: {"description": "PCM16, mono", "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}}
}


def conversation_routes(database: Database | None) -> APIRouter:
    """List, export, audio, delete; without `database` they say that nothing is kept."""
    router = api_router()

    def kept() -> Database:
        if database is None:
            raise NotFound(OFF, code="store_off")
        return database

    @router.get("/conversations")
    async def list_conversations(
        request: Request,
        caller: str | None = None,
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> dict[str, Any]:
        key = visit_of(request.scope).caller.key

        def look(session: Session) -> dict[str, Any]:
            rows = store.conversations_of(session, key, caller_id=caller, after=after, limit=limit + 1)
            data = [store.headed(session, row) for row in rows[:limit]]
            return {"object": "list", "data": data, "has_more": len(rows) > limit}

        return await kept().run(look)

    @router.get("/conversations/{conversation_id}")
    async def export(request: Request, conversation_id: str) -> dict[str, Any]:
        key = visit_of(request.scope).caller.key
        return await kept().run(lambda s: store.exported(s, store.find(s, conversation_id, key)))

    @router.get("/conversations/{conversation_id}/items/{item_id}/audio", response_class=Response, responses=WAV)
    async def audio(request: Request, conversation_id: str, item_id: str) -> Response:
        key = visit_of(request.scope).caller.key
        pcm, rate = await kept().run(lambda s: store.audio_of(s, store.find(s, conversation_id, key).id, item_id))
        return Response(wav(pcm, rate), media_type="audio/wav")

    @router.delete("/conversations/{conversation_id}")
    async def delete(request: Request, conversation_id: str) -> dict[str, Any]:
        key = visit_of(request.scope).caller.key
        await kept().run(lambda s: store.remove(s, [store.find(s, conversation_id, key).id]))
        await asyncio.to_thread(kept().forget)
        return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}

    @router.delete("/conversations")
    async def delete_all(request: Request, caller: str | None = None) -> dict[str, Any]:
        """All of one caller."""
        if caller is None:
            code = "missing_required_parameter"
            raise BadRequest("caller says whose conversations are to be deleted", param="caller", code=code)
        key = visit_of(request.scope).caller.key

        def remove(session: Session) -> int:
            names = [row.id for row in store.conversations_of(session, key, caller_id=caller)]
            store.remove(session, names)
            return len(names)

        deleted = await kept().run(remove)
        await asyncio.to_thread(kept().forget)
        return {"object": "conversations.deleted", "deleted": deleted}

    return router
