"""`parley conversations` on a database: lists, exports with audio, deletes, and says what it does not find."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.__main__ import main
from app.store import store
from app.store.store import Change, StoredAudio, StoredItem, conversations_database

Parley = Callable[..., str]
OLD = 1_700_000_000.0  # 2023-11-14


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Two conversations: ann's, long ago and with audio, and bob's, just now."""
    file = str(tmp_path / "conversations.sqlite")
    database = conversations_database(file)
    with database.session() as session:
        for name, caller in (("conv_1", "ann"), ("conv_2", "bob")):
            item = StoredItem(
                conversation=name, id="item_1", position=0, at=OLD, timings={},
                body={"id": "item_1", "type": "message", "role": "user", "status": "completed", "content": []},
                private={"hidden": [], "audio_ms": 0, "marks": []},
            )  # fmt: skip
            audio = (
                [StoredAudio(conversation=name, item="item_1", rate=16_000, pcm=bytes(3200))] if caller == "ann" else []
            )
            change = Change(name, "", caller, "sess_1", {"model": "scripted"}, items=[item], audio=audio)
            assert store.write(session, change, begun=False) == "ours"
        store.find(session, "conv_1", None).seen_at = OLD
    database.close()
    return file


@pytest.fixture
def parley(place: str, capsys: pytest.CaptureFixture[str]) -> Parley:
    """The command; gives what it prints."""

    def run(*arguments: str, status: int = 0) -> str:
        assert main(["conversations", "--store", place, *arguments]) == status
        said = capsys.readouterr()
        return (said.err if status else said.out).strip()

    return run


def test_they_are_listed(parley: Parley) -> None:
    assert [line.split()[0] for line in parley("list").splitlines()] == ["conv_2", "conv_1"]
    assert parley("list", "--caller", "ann").endswith("1 items  scripted  ann")
    assert parley("list", "--caller", "nobody") == "no conversations"


def test_they_are_exported(parley: Parley, tmp_path: Path) -> None:
    (line,) = parley("export", "--caller", "ann").splitlines()
    found: dict[str, Any] = json.loads(line)
    assert (found["id"], found["items"][0]["audio_kept"]) == ("conv_1", True)
    out = tmp_path / "out"
    assert parley("export", "conv_1", "conv_2", "--out", str(out)) == f"2 in {out}"
    assert sorted(path.name for path in out.iterdir()) == ["conv_1.1.user.wav", "conv_1.json", "conv_2.json"]
    assert (out / "conv_1.1.user.wav").stat().st_size == 44 + 3200


def test_they_are_deleted(parley: Parley) -> None:
    assert parley("delete", "--before", "2024-01-01") == "1 deleted"
    assert [line.split()[0] for line in parley("list").splitlines()] == ["conv_2"]
    assert parley("delete", "--caller", "ann") == "0 deleted"
    assert parley("delete", "conv_2") == "1 deleted"
    assert parley("list") == "no conversations"


def test_nothing_is_guessed(
    parley: Parley, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "which conversations?" in parley("delete", status=1)
    assert "there is no conversation 'conv_3'" in parley("delete", "conv_1", "conv_3", status=1)
    assert "--before: got 'yesterday', expected YYYY-MM-DD" in parley("export", "--before", "yesterday", status=1)
    assert len(parley("list").splitlines()) == 2
    monkeypatch.delenv("PARLEY_STORE", raising=False)
    assert main(["conversations", "list"]) == 1
    assert "PARLEY_STORE, or --store" in capsys.readouterr().err
    assert main(["conversations", "--store", "no-such-file", "list"]) == 1
    assert "there is no no-such-file" in capsys.readouterr().err
