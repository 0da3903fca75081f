"""A job's result into service over REST: built on its parent, promoted by its gates, rolled back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cards import read_card
from app.jobs.store import Store
from app.packs import find_pack
from tests.app.jobs.packs import write_job, write_pack
from tests.app.jobs.place import Place
from tests.serving import serving


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    write_pack(made.packs)
    return made


@pytest.fixture
async def client(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(place.app()) as url, httpx.AsyncClient(base_url=f"{url}/v1") as made:
        yield made


async def post(client: httpx.AsyncClient, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    got: dict[str, Any] = answer.json()
    return got if status == 200 else got["error"]


async def test_a_result_is_built_promoted_and_rolled_back(place: Place, client: httpx.AsyncClient) -> None:
    job = write_job(place, "succeeded", evaluated=True, suffix="digits")
    built = await post(client, "/packs", pack="de@2", like="de", models=[job.fine_tuned_model])
    assert (built["id"], built["current"], built["failed_gates"]) == ("de@2", False, [])
    assert {"recognizer wer", "recognizer parity_merged", "voice wer"} <= {
        f"{row['part']} {row['metric']}" for row in built["figures"]
    }
    pack = find_pack(place.packs, "de@2")
    assert (pack.recognizer_folder / "model.bin").read_bytes() == b"new"
    assert (pack.voice_folder / "model.bin").read_bytes() == b"old"
    events = (await client.get(f"/fine_tuning/jobs/{job.id}/events")).json()["data"]
    assert events[0]["message"] == "Pack de@2 is built of it"

    change = await post(client, "/packs/de@2/promote")
    assert (change["before"], change["after"]) == ("1", "2")
    assert find_pack(place.packs, "de").version == "2"
    listed = (await client.get("/packs")).json()["data"]
    shown = [(one["id"], one["current"], one["rollback_to"]) for one in listed]
    assert shown == [("de@1", False, None), ("de@2", True, "de@1")]
    assert (await post(client, "/packs/de/rollback"))["after"] == "1"
    assert find_pack(place.packs, "de").version == "1"
    assert (await client.get("/packs/de@1")).json()["rollback_to"] is None  # nothing was current before it
    history = (await client.get("/packs/de@2")).json()["history"]
    assert [change["action"] for change in history] == ["promote", "rollback"]


async def test_the_report_of_an_evaluation(place: Place, client: httpx.AsyncClient) -> None:
    refused = (await client.get("/packs/de@1/report")).json()["error"]
    assert refused["message"] == "there is no report of de@1: `parley evaluate` writes one"
    (place.folder / "reports/de@1").mkdir(parents=True)
    (place.folder / "reports/de@1/report.html").write_text("<p>12 %</p>")
    assert (await client.get("/packs/de")).json()["report"]
    assert (await client.get("/packs/de/report")).text == "<p>12 %</p>"
    assert (await client.get("/packs/..@1/report")).status_code == 404


async def test_a_missed_gate_is_overridden_only_in_words(place: Place, client: httpx.AsyncClient) -> None:
    job = write_job(place, "succeeded", evaluated=False)
    await post(client, "/packs", pack="de@2", like="de@1", models=[job.id])
    for body in ({}, {"force": " "}):
        refused = await post(client, "/packs/de@2/promote", 409, **body)
        assert refused["code"] == "gate_missed"
        assert "recognizer, wer: 0.04 share (n 120 words, gate <= 0.01 missed)" in refused["message"]
    assert (await post(client, "/packs/de@2/promote", force="heard by hand"))["words"] == "heard by hand"
    assert read_card(find_pack(place.packs, "de"))["forced"][0]["words"] == "heard by hand"


async def test_a_joint_job_becomes_all_stages(place: Place, client: httpx.AsyncClient) -> None:
    job = write_job(place, "succeeded")
    store = Store(place.jobs)
    store.change(job.id, method="joint")
    store.close()
    run = place.jobs / "runs" / job.id / "run"
    for stage in ("recognizer", "language", "voice"):
        (run / stage / "export" / stage).mkdir(parents=True)
        (run / stage / "export" / stage / "model.bin").write_bytes(stage.encode())
    shown = (await client.get(f"/fine_tuning/jobs/{job.id}")).json()
    assert shown["exports"] == {stage: str(run / stage) for stage in ("recognizer", "language", "voice")}
    await post(client, "/packs", pack="de@2", like="de", models=[job.id])
    pack = find_pack(place.packs, "de@2")
    folders = (pack.recognizer_folder, pack.language_folder, pack.voice_folder)
    assert [(folder / "model.bin").read_bytes() for folder in folders] == [b"recognizer", b"language", b"voice"]
    assert read_card(pack)["not_measured"] == ["language", "recognizer", "voice"]


async def test_what_cannot_be_built_or_promoted(place: Place, client: httpx.AsyncClient) -> None:
    done, failed = write_job(place, "succeeded"), write_job(place, "failed")
    for status, message, body in (
        (400, "is failed, expected one that has trained", {"pack": "de@2", "like": "de", "models": [failed.id]}),
        (404, "no fine-tuning job", {"pack": "de@2", "like": "de", "models": ["ftjob-x"]}),
        (404, "", {"pack": "de@2", "like": "nl", "models": [done.id]}),
        (400, "there already", {"pack": "de@1", "like": "de", "models": [done.id]}),
        (400, "pack", {"pack": "../de@2", "like": "de", "models": [done.id]}),
        (400, "like", {"pack": "de@2", "like": "/etc", "models": [done.id]}),
    ):
        assert message in (await post(client, "/packs", status, **body))["message"]
    assert "was never evaluated" in (await built_of(client, done.id))["message"]
    assert "nothing to roll de back to" in (await post(client, "/packs/de/rollback", 400))["message"]
    assert "is current already" in (await post(client, "/packs/de@1/promote", 400))["message"]
    for path in ("/packs/x@1/promote", "/packs/..@1/promote"):
        await post(client, path, 404)
    assert (await client.get("/packs/nl")).status_code == 404


async def built_of(client: httpx.AsyncClient, job: str) -> dict[str, Any]:
    """The refusal of a pack whose new stage has no figures but its parity."""
    await post(client, "/packs", pack="de@3", like="de", models=[job])
    return await post(client, "/packs/de@3/promote", 409)
