"""The command line itself: its version, and what it refuses before anything is started."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.__main__ import TOOLS, main
from app.keys import access_database, create


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"parley {importlib.metadata.version('parley')}\n"


def test_without_a_command_all_of_them_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "talks to a running service with recordings" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["packs", "--packs", "/nowhere", "list"], "/nowhere is no folder of packs; choose one with --packs before"),
        (["jobs", "--url", "nonsense", "list"], "'nonsense' is not the address of a service; expected for instance"),
        (["keys", "--key-database", "postgresql+nodriver://a/b", "list"], "the database of API keys cannot be used"),
        (["keys", "--key-database", "mysql://a/b", "list"], "the database of API keys needs MySQLdb, which is not"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"parley: {said}")
    assert error.count("\n") == 1


def test_a_recognizer_that_is_none_is_refused_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--recognizer", "nope"]) == 1
    assert capsys.readouterr().err == (
        "parley: no recognizer engine 'nope'; there are: whisper, pocketsphinx, or a URL\n"
    )


def unread(*arguments: str) -> tuple[int, str]:
    """Status and stderr of a command whose output nobody reads, as after `| head -1` has its line."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "app.__main__", *arguments],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return done.returncode, done.stderr


def test_output_that_nobody_reads_ends_a_command_quietly() -> None:
    assert unread("packs", "list") == (128 + signal.SIGPIPE, "")


def test_output_that_nobody_reads_is_no_fault_of_a_database(tmp_path: Path) -> None:
    place = str(tmp_path / "access.sqlite")
    with access_database(place).session() as session:
        for number in range(200):  # more than a pipe's buffer in Python, so that it is written while the table is read
            create(session, f"caller {number}", ["caller"])
    assert unread("keys", "--key-database", place, "list") == (128 + signal.SIGPIPE, "")


def test_another_pipe_that_breaks_is_not_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def add_arguments(self, parser: argparse.ArgumentParser) -> None:
            pass

        def run(self, args: argparse.Namespace) -> int:
            raise BrokenPipeError("of a process that has died")

    monkeypatch.setitem(TOOLS, "models", (Broken(), "breaks"))
    with pytest.raises(BrokenPipeError, match="a process that has died"):
        main(["models"])
