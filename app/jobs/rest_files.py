"""/v1/files: what is uploaded for fine-tuning, and what came of it. Operators' alone."""

from __future__ import annotations

import os
import shutil
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, UploadFile
from fastapi import File as FilePart
from fastapi.responses import FileResponse

from app.errors import BadRequest, JobsUnavailable
from app.jobs.methods import Places
from app.jobs.store import File, Store, new_id, now
from app.rest import api_router

PURPOSE = "fine-tune"
UPLOADS = "files"
PIECE = 1 << 20  # bytes


def file_routes(store: Store, places: Places) -> APIRouter:
    """Upload, list, look, download, delete, as OpenAI's."""
    router = api_router()

    @router.post("/files")
    def upload(
        file: Annotated[UploadFile, FilePart(description="zip or tar.gz with manifest and audio, or a JSONL of chats")],
        purpose: Annotated[str, Form()],
    ) -> dict[str, Any]:
        if purpose != PURPOSE:
            raise BadRequest(f"purpose: got {purpose!r}, expected {PURPOSE}", param="purpose")
        name = new_id("file")
        path = places.folder / UPLOADS / name
        partial = path.with_name(f"{name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as out:
                shutil.copyfileobj(file.file, out, PIECE)
                out.flush()
                os.fsync(out.fileno())
            partial.rename(path)
        except OSError as error:
            raise JobsUnavailable(f"the file cannot be kept: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
        row = File(
            id=name, created_at=now(), filename=file.filename or name, bytes=path.stat().st_size, purpose=purpose,
            path=f"{UPLOADS}/{name}",
        )  # fmt: skip
        store.add(row)
        return _shown(row)

    @router.get("/files")
    def list_files(
        purpose: str = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        after: str = "",
    ) -> dict[str, Any]:
        if not store.begun:
            return {"object": "list", "data": [], "has_more": False}
        rows, more = store.files(purpose, after, limit, order == "asc")
        return {"object": "list", "data": [_shown(row) for row in rows], "has_more": more}

    @router.get("/files/{file_id}")
    def get_file(file_id: str) -> dict[str, Any]:
        return _shown(store.file(file_id))

    @router.get("/files/{file_id}/content", response_class=FileResponse)
    def content(file_id: str) -> FileResponse:
        row = store.file(file_id)
        path = places.folder / row.path
        if not path.is_file():
            raise JobsUnavailable(f"file {file_id} is not on disk any more")
        return FileResponse(path, media_type="application/octet-stream", filename=row.filename)

    @router.delete("/files/{file_id}")
    def delete(file_id: str) -> dict[str, Any]:
        row = store.file(file_id)
        store.remove_file(file_id)
        if row.path.startswith(f"{UPLOADS}/"):  # others are a run's
            (places.folder / row.path).unlink(missing_ok=True)
        return {"id": file_id, "object": "file", "deleted": True}

    return router


def _shown(row: File) -> dict[str, Any]:
    return {
        "id": row.id, "object": "file", "bytes": row.bytes, "created_at": row.created_at, "filename": row.filename,
        "purpose": row.purpose, "status": "processed",
    }  # fmt: skip
