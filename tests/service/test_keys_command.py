"""`parley keys` in processes of its own, as an operator calls it before any service has run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def parley(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, ended."""
    return subprocess.run([sys.executable, "-m", "app", *arguments], capture_output=True, text=True, check=False)


def test_a_new_database_is_made_filled_and_listed(tmp_path: Path) -> None:
    place = ("keys", "--key-database", str(tmp_path / "access.sqlite"))
    made = parley(*place, "create", "kiosk", "--audio-minutes-per-day", "5")
    assert made.stdout.startswith("sk-parley-"), made.stderr
    listed = parley(*place, "list")
    assert listed.returncode == 0, listed.stderr
    assert "kiosk" in listed.stdout
    assert "0.0 of 5 min of audio today" in listed.stdout


def test_a_limit_that_is_no_whole_number_is_refused_in_words(tmp_path: Path) -> None:
    place = ("keys", "--key-database", str(tmp_path / "access.sqlite"))
    refused = parley(*place, "create", "kiosk", "--audio-minutes-per-day", "0.1")
    assert refused.returncode == 2
    assert "got '0.1', expected a whole number of at least 1" in refused.stderr
