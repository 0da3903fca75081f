"""The database of jobs: the same on SQLite and on a real PostgreSQL; statuses go only where TRANSITIONS lets them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from app.errors import NotFound
from app.jobs.store import TRANSITIONS, File, Job, Store, new_id, now


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    made = Store(tmp_path, url)
    yield made
    made.close()


def job(status: str = "queued", **values: object) -> Job:
    given = {
        "id": new_id("ftjob"), "created_at": now(), "status": status, "model": "m", "method": "language",
        "configuration": "c", "hyperparameters": {"n_epochs": 2}, "training_file": "dataset:de", "seed": 2**31 - 1,
        "dry_run": False, "job_metadata": {}, "result_files": [],
    }  # fmt: skip
    return Job(**(given | values))


def test_what_is_kept_is_found_by_another_process(store: Store, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first, second = job(job_metadata={"who": "a"}), job(job_metadata={"who": "b"})
    store.add(first)
    store.add(second)
    assert store.move(first.id, "running", "begun", device="0", overrides=["a=1"])
    store.note(first.id, "careful", "warn")
    rows = {
        "1": {"step": 1, "total_steps": 9, "train_loss": 0.5},
        "2": {"step": 2, "total_steps": 9, "train_loss": 0.25},
    }
    store.measured(first.id, rows)
    store.measured(first.id, rows | {"1": {"step": 1, "total_steps": 9, "train_loss": 99.0}})
    other = Store(tmp_path, "" if (tmp_path / "jobs.sqlite").exists() else request.getfixturevalue("postgres"))
    found = other.job(first.id)
    assert (found.status, found.device, found.overrides, found.seed) == ("running", "0", ["a=1"], 2**31 - 1)
    events, more = other.events(first.id, "", 3)
    assert more
    assert [event.message for event in events] == ["Step 2/9: train_loss=0.25", "Step 1/9: train_loss=0.5", "careful"]
    assert [event.message for event in other.events(first.id, "", 9, "message")[0]] == ["careful", "begun"]
    last, more = other.events(first.id, events[-1].id, 3)
    assert ([event.message for event in last], more) == (["begun"], False)
    mine = [one.id for one in other.jobs("", 9)[0] if one.id in (first.id, second.id)]
    assert mine == [second.id, first.id]
    assert [one.id for one in other.jobs("", 9, {"who": "a"})[0]][:1] == [first.id]
    assert [one.id for one in other.jobs(second.id, 1)[0]] == [first.id]
    assert first.id in [one.id for one in other.jobs_in("running", "paused")]
    other.close()


def test_a_status_goes_only_where_it_may(store: Store) -> None:
    for before, to in product([*TRANSITIONS], TRANSITIONS):
        one = job(before)
        store.add(one)
        allowed = before in TRANSITIONS[to]
        assert store.move(one.id, to, "moved", device="x") is allowed
        now_ = store.job(one.id)
        assert (now_.status, now_.device) == ((to, "x") if allowed else (before, None))
        assert [event.message for event in store.events(one.id, "", 9)[0]] == (["moved"] if allowed else [])
    assert not store.move("ftjob-x", "running")


def test_files_by_page(store: Store) -> None:
    files = [File(id=new_id("file"), created_at=now(), filename="f", bytes=2**40, purpose=f"p{i % 2}", path="p")
             for i in range(4)]  # fmt: skip
    for file in files:
        store.add(file)
    ids = [file.id for file in files]
    assert [file.id for file in store.files("p1", "", 9, True)[0]] == [ids[1], ids[3]]
    page, more = store.files("", ids[3], 2, False)
    assert ([file.id for file in page], more) == ([ids[2], ids[1]], True)
    store.remove_file(ids[0])
    with pytest.raises(NotFound, match="there is no file"):
        store.file(ids[0])
    with pytest.raises(NotFound):
        store.files("", "file-x", 9, True)


def test_reading_makes_no_database(tmp_path: Path) -> None:
    assert not Store(tmp_path / "jobs").begun
    assert not (tmp_path / "jobs").exists()
