"""`parley jobs` against a running service: a dry run, a misspelt key, a pause, refusals in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from app.__main__ import main
from app.access import Access
from tests.app.jobs.packs import write_job
from tests.app.jobs.place import Place, made, tiny_base
from tests.serving import serving

Said = Callable[[], str]


async def parley(url: str, *arguments: str) -> int:
    return await asyncio.to_thread(main, ["jobs", "--url", url, *arguments])


async def test_a_dry_run_and_a_misspelt_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = made(tmp_path / "place", tiny_base(tmp_path))
    chats = tmp_path / "chats.jsonl"
    rows = [f'{{"user": "frage {i}", "assistant": "ja"}}\n' for i in range(40)]  # enough for a dev split by text
    chats.write_text("".join(rows))
    asked = ["create", "language", "--model", "tiny", "--data", str(chats), "--configuration", "language_tiny"]
    async with serving(place.app()) as url:
        assert await parley(url, *asked, "--dry-run", "--follow", "--set", "n_epochs=2", "batch_size=4") == 0
        said = capsys.readouterr().out
        assert "The dry run has said what the job would take" in said
        assert "steps      20, " in said  # 2 epochs of 40 rows, 4 a step
        assert "parameters" in said
        assert not list(place.jobs.glob("runs/*/run"))

        assert await parley(url, *asked[:4], "--data", "dataset:de", "--follow", "--set", "training.stepz=9") == 1
        said = capsys.readouterr().out
        assert "unknown key training.stepz; the nearest known one is training.steps" in said
        assert await parley(url, "list") == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["failed", "succeeded"]


async def test_jobs_are_shown_and_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    job = write_job(place, "paused", suffix="digits")
    done = write_job(place, "succeeded", suffix="digits")
    access = Access(frozenset({"caller"}), frozenset({"operator"}))
    async with serving(place.app(access=access)) as url:
        assert await parley(url, "--key", "caller", "list") == 1
        assert capsys.readouterr().err == "parley: This is a caller's key; fine-tuning and packs need an operator's\n"
        assert await parley(url, "--key", "operator", "show", done.id) == 0
        run = place.jobs / "runs" / done.id / "run"
        assert f"for `parley packs build`: --recognizer {run}" in capsys.readouterr().out
        assert await parley(url, "--key", "operator", "show", job.id) == 0
        assert "step 50/100" in capsys.readouterr().out
        assert await parley(url, "logs", job.id, "--key", "operator") == 0  # last, as people write it
        assert capsys.readouterr().out == "step 50\nparley: a last line\n\n"
        assert await parley(url, "--key", "operator", "cancel", job.id) == 0
        assert "cancelled" in capsys.readouterr().out
        for action in ("pause", "resume", "cancel"):
            assert await parley(url, "--key", "operator", action, job.id) == 1
            assert capsys.readouterr().err.startswith(f"parley: job {job.id} is cancelled and cannot be ")
        assert await parley(url, "--key", "operator", "create", "language", "--model", "m", "--data", "no-file") == 1
        assert "expected dataset:NAME, the id of an uploaded file, or a file here" in capsys.readouterr().err


async def test_no_service(capsys: pytest.CaptureFixture[str]) -> None:
    assert await parley("http://127.0.0.1:1", "list") == 1
    assert "no service answers at http://127.0.0.1:1; start it with `parley serve`" in capsys.readouterr().err
