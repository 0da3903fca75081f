"""/v1/packs: versions of language packs for operators: listed, built of jobs, promoted by their gates, rolled back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from app import pack_build, pack_versions
from app.cards import failed_gates, read_card, said
from app.errors import BadRequest, GateMissed, NotFound, PackError, UnknownModel
from app.jobs.methods import METHODS, Places
from app.jobs.store import Store
from app.packs import Pack, find_pack, list_packs
from app.rest import api_router

NAME = r"[A-Za-z0-9][\w.-]*"


class BuildBody(BaseModel):
    """A new version of a pack, out of jobs that have succeeded."""

    model_config = ConfigDict(extra="forbid")
    pack: Annotated[str, Field(pattern=rf"^{NAME}@{NAME}$")]
    """NAME@VERSION."""
    like: Annotated[str, Field(pattern=rf"^{NAME}(@{NAME})?$")]
    """The pack that everything else is taken from."""
    models: Annotated[list[str], Field(min_length=1, max_length=4)]
    """Jobs, or the `fine_tuned_model` of each."""


class PromoteBody(BaseModel):
    """`force`: why failed gates do not count; card and history keep the words."""

    model_config = ConfigDict(extra="forbid")
    force: Annotated[str, Field(max_length=1000)] = ""


def pack_routes(store: Store, places: Places) -> APIRouter:
    """The routes, over the packs folder of the service; its sessions see a change at once, running ones never."""
    router = api_router()
    root = places.packs

    @router.get("/packs")
    def list_all() -> dict[str, Any]:
        with _refusals():
            data = [_shown(places, pack) for pack in list_packs(root)]
        return {"object": "list", "data": data, "has_more": False}

    @router.get("/packs/{reference}")
    def get_one(reference: str) -> dict[str, Any]:
        with _refusals():
            pack = find_pack(root, _checked(reference))
            changes = [vars_of(change) for change in pack_versions.history(root, pack.name)]
            return _shown(places, pack) | {"history": changes}

    @router.get("/packs/{reference}/report", response_class=FileResponse)
    def report(reference: str) -> FileResponse:
        with _refusals():
            pack = find_pack(root, _checked(reference))
        path = _report(places, pack)
        if not path.is_file():
            raise NotFound(f"there is no report of {pack.reference}: `parley evaluate` writes one")
        return FileResponse(path, media_type="application/octet-stream", filename=f"{pack.reference}.html")

    @router.post("/packs")
    def build(body: BuildBody) -> dict[str, Any]:
        weights: dict[str, Path] = {}
        jobs = []
        with _refusals():
            like = find_pack(root, body.like)
            for model in body.models:
                job = store.job(model.rsplit(":", 1)[-1])
                if job.fine_tuned_model is None:
                    raise BadRequest(f"job {job.id} is {job.status}, expected one that has trained and succeeded")
                for stage, run in places.exports(job.id, METHODS[job.method]).items():
                    served_by_vllm = stage == "language" and like.language_model.base
                    weights["adapter" if served_by_vllm else stage] = run
                jobs.append(job.id)
            pack = pack_build.build(root, body.pack, settings=like.folder, weights=weights)
        for name in jobs:
            store.note(name, f"Pack {pack.reference} is built of it")
        return _shown(places, pack)

    @router.post("/packs/{reference}/promote")
    def promote(reference: str, body: PromoteBody | None = None) -> dict[str, Any]:
        with _refusals():
            change = pack_versions.promote(root, _checked(reference), force=body.force if body else "")
        return vars_of(change)

    @router.post("/packs/{name}/rollback")
    def rollback(name: str) -> dict[str, Any]:
        with _refusals():
            return vars_of(pack_versions.rollback(root, _checked(name)))

    return router


def vars_of(change: pack_versions.Change) -> dict[str, Any]:
    """A change as JSON has it."""
    return {
        "object": "pack.change", "when": change.when, "action": change.action, "before": change.before,
        "after": change.after, "words": change.words,
    }  # fmt: skip


def _shown(places: Places, pack: Pack) -> dict[str, Any]:
    card = read_card(pack)
    now = pack_versions.current(places.packs, pack.name)
    is_current = now is not None and now.version == pack.version
    back = pack_versions.earlier(places.packs, pack.name) if is_current else None
    figures = [
        {key: row[key] for key in ("part", "metric", "value", "unit", "passed")} | {"said": said(row)}
        for row in card["evaluation"]
    ]
    return {
        "id": pack.reference, "object": "pack", "name": pack.name, "version": pack.version,
        "language": pack.language, "description": pack.description,
        "current": is_current, "rollback_to": back.reference if back else None, "failed_gates": failed_gates(pack),
        "figures": figures, "forced": card.get("forced", []), "report": _report(places, pack).is_file(),
    }  # fmt: skip


def _report(places: Places, pack: Pack) -> Path:
    return places.reports / pack.reference / "report.html"


def _checked(reference: str) -> str:
    """A name that is no path. Raises UnknownModel."""
    if not re.fullmatch(rf"{NAME}(@{NAME})?", reference):
        raise UnknownModel(f"there is no pack {reference!r}")
    return reference


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """A pack that cannot be made or moved as asked is the operator's fault (400), a missed gate a conflict (409)."""
    try:
        yield
    except GateMissed:
        raise
    except PackError as error:
        raise BadRequest(error.message, code=error.code) from error
