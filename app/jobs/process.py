"""A job's process, which holds the job's lock for as long as it lives, also when whoever started it is gone.

The lock (flock(2)) belongs to an open file that the process inherits: the kernel gives it back when the process has
ended, however that was, so that nobody runs a job a second time beside an orphan. Knows no recipe and no database.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

LOCK = "lock"
LOG = "log.txt"
NICE = 10  # callers of the service come first
STOP_SECONDS = 3.0  # between SIGTERM and SIGKILL; a recipe's checkpoints are whole at any moment
ORPHAN_SECONDS = 30.0  # for a killed process to be gone; one that waits for a disk takes a while
LAST_BYTES = 65_536  # of a log, among which its last sentence is looked for


class Process:
    """A running program with its log."""

    def __init__(self, command: Sequence[str], folder: Path, cwd: Path, environment: Mapping[str, str]) -> None:
        """Starts it. Raises BlockingIOError where the folder's last process still lives, OSError."""
        with _lock(folder) as lock, (folder / LOG).open("ab") as log:
            self._folder = folder
            self._log_start = log.tell()
            self._stop_at = 0.0
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=dict(environment),
                pass_fds=(lock,),
                start_new_session=True,  # it is ended with all that it has started
            )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)

    def ended(self) -> int | None:
        """Its exit status, a negative signal number; None while it runs."""
        code = self._process.poll()
        if code is None and self._stop_at and time.monotonic() > self._stop_at:
            self._kill(signal.SIGKILL)
        if code is not None:
            self._kill(signal.SIGKILL)  # what it has left behind
        return code

    def stop(self) -> None:
        """Asks it to end; `ended` kills it where it takes too long."""
        if not self._stop_at:
            self._stop_at = time.monotonic() + STOP_SECONDS
            self._kill(signal.SIGTERM)

    def wait(self) -> None:
        """Until it has ended after `stop`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, self._stop_at - time.monotonic()))
        self._kill(signal.SIGKILL)
        self._process.wait()

    def said(self) -> str:
        """What it has written, at most the end of it."""
        with (self._folder / LOG).open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - LAST_BYTES))
            return readable(log.read())

    def _kill(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def readable(log: bytes) -> str:
    """A log's text, of each line what a progress bar has left standing."""
    lines = log.decode(errors="replace").replace("\r\n", "\n").split("\n")
    return "\n".join(next((part for part in reversed(line.split("\r")) if part), "") for line in lines)


def reason(said: str, code: int) -> str:
    """Why a process failed, in one sentence: its own last `parley: ...`, else its last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("parley: "):
            return line.removeprefix("parley: ")
    if code < 0:
        why = f"the recipe was killed by {signal.Signals(-code).name}"
        return why + (", perhaps since memory ran out" if code == -signal.SIGKILL else "")
    return f"the recipe ended with exit status {code}: {lines[-1] if lines else 'it said nothing'}"


def end_orphan(folder: Path) -> bool:
    """Ends a process that still holds the folder's lock, and says whether there was one; it is gone on return.

    Raises BlockingIOError for one that cannot be ended.
    """
    found = False
    deadline = time.monotonic() + ORPHAN_SECONDS
    while _held(folder):
        found = True
        if time.monotonic() > deadline:
            raise BlockingIOError(f"a process that holds {folder / LOCK} does not end")
        for pid in _holders(folder / LOCK):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return found


def _held(folder: Path) -> bool:
    if not (folder / LOCK).exists():
        return False
    try:
        with _lock(folder):
            return False
    except BlockingIOError:
        return True


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    finally:
        os.close(lock)  # a process that inherited it keeps the lock


def _holders(lock: Path) -> Iterator[int]:
    """Processes that have the file open; this one is none of them."""
    wanted = lock.stat()
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        pid = int(path.parts[2])
        with contextlib.suppress(OSError):
            if pid != os.getpid() and os.path.samestat(path.stat(), wanted):
                yield pid
