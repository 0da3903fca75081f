"""How commands of training end."""

from __future__ import annotations

import pytest

from finetune.errors import RunError
from finetune.exit_status import SAME, exit_status


def refused() -> int:
    raise RunError("got nothing")


def interrupted() -> int:
    raise KeyboardInterrupt


def test_an_exit_status_is_passed_on_and_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(lambda: 3) == 3
    assert exit_status(refused) == 1
    assert exit_status(interrupted) == 130
    assert capsys.readouterr().err == "parley: got nothing\n"
    assert exit_status(interrupted, again=SAME) == 130
    assert capsys.readouterr().err == "parley: interrupted; the same command goes on from here\n"
