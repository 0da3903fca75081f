"""A job's process: its lock outlives whoever started it, and an orphan is ended before the job runs again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.jobs.process import Process, end_orphan

SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(1000)"]
STUBBORN = [
    sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(1000)",
]  # fmt: skip
STARTER = """
import sys
from pathlib import Path
from app.jobs.process import Process
Process({command!r}, Path({folder!r}), Path("/"), {{}})
"""


def ready(folder: Path) -> None:
    """Waits until the process has said that it is there."""
    deadline = time.monotonic() + 120
    while b"here" not in (folder / "log.txt").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_process_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    first = Process(STUBBORN, tmp_path, tmp_path, os.environ)
    ready(tmp_path)
    with pytest.raises(BlockingIOError):
        Process(SLEEPER, tmp_path, tmp_path, os.environ)
    assert first.ended() is None
    first.stop()
    first.wait()  # it does not mind SIGTERM
    assert first.ended() == -signal.SIGKILL
    assert first.said().strip() == "here"
    again = Process([sys.executable, "-c", "print('done')"], tmp_path, tmp_path, os.environ)
    while again.ended() is None:
        time.sleep(0.01)
    assert (again.ended(), again.said().strip()) == (0, "done")  # its own words alone
    assert not end_orphan(tmp_path)


def test_an_orphan_is_ended(tmp_path: Path) -> None:
    starter = STARTER.format(command=SLEEPER, folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", starter], check=True)
    ready(tmp_path)
    with pytest.raises(BlockingIOError):
        Process(SLEEPER, tmp_path, tmp_path, os.environ)
    assert end_orphan(tmp_path)
    Process(["true"], tmp_path, tmp_path, os.environ).wait()
    assert not end_orphan(tmp_path / "nothing")
