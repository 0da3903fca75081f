"""/health of a gateway: its workers by name, and its pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from app import pack_versions
from app.errors import WorkerUnavailable
from app.gateway import GatewayOptions, create_app
from app.packs import find_pack
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.serving import serving
from tests.shelves import packs_in


async def test_health_names_every_worker() -> None:
    class Dead(ScriptedLanguage):
        async def health(self) -> Any:
            raise WorkerUnavailable("nobody there")

    workers = Workers(ScriptedRecognizer([]), Dead([]), ScriptedSynthesizer())
    async with serving(create_app(SCRIPTED, workers)) as url, httpx.AsyncClient() as client:
        health = (await client.get(f"{url}/health")).json()
    assert health["status"] == "degraded"
    assert health["workers"]["recognizer"]["state"] == "ok"
    assert health["workers"]["language"] == {"state": "down", "reason": "nobody there"}
    assert health["pack"]["name"] == "scripted"


async def test_health_without_the_own_pack_says_so(tmp_path: Path) -> None:
    packs_in(tmp_path)
    workers = Workers(ScriptedRecognizer([]), ScriptedLanguage([]), ScriptedSynthesizer())
    app = create_app(find_pack(tmp_path, "c"), workers, options=GatewayOptions(packs=tmp_path))
    pack_versions.remove(tmp_path, "c@1", last=True)
    async with serving(app) as url, httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert "there is: a, a@2, b" in answer.json()["pack"]["error"]
