"""A worker's packs over HTTP: which there are, load one ahead of its use, unload an idle one. Knows no engine."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Security

from app.rest import ERRORS, api_key
from app.workers.shelf import Shelf


def shelf_routes(shelf: Shelf[Any]) -> APIRouter:
    """GET /packs, POST /packs/{name}/load and .../unload; `name` is NAME or NAME@VERSION in the worker's own folder."""
    router = APIRouter(prefix="/packs", responses=ERRORS, dependencies=[Security(api_key)])

    @router.get("")
    async def states() -> dict[str, Any]:
        return {"object": "list", "data": shelf.states()}

    @router.post("/{name}/load")
    async def load(name: str) -> dict[str, Any]:
        return await shelf.load(name)

    @router.post("/{name}/unload")
    async def unload(name: str) -> dict[str, Any]:
        return await shelf.unload(name)

    return router
