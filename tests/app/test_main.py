"""The command line itself: its version, and what it refuses before anything is started."""

from __future__ import annotations

import importlib.metadata

import pytest

from app.__main__ import main


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"parley {importlib.metadata.version('parley')}\n"


def test_a_recognizer_that_is_none_is_refused_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--recognizer", "nope"]) == 1
    assert capsys.readouterr().err == (
        "parley: no recognizer engine 'nope'; there are: whisper, pocketsphinx, or a URL\n"
    )
