"""How far a download is, for a person: one line that is written over, or a line now and then into a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

MEGABYTE = 1_000_000
REDRAW_SECONDS = 0.2  # on a terminal
LOG_SECONDS = 10.0  # elsewhere: a log of an hour's download stays readable


class ProgressLine:
    """Rate and time left of one file. Call it with the bytes there and the bytes in all; `end` leaves the line."""

    def __init__(self, name: str, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._out, self._clock = name, out, clock
        self._terminal = out.isatty()
        self._began: tuple[float, int] | None = None
        self._shown = float("-inf")

    def __call__(self, done: int, total: int) -> None:
        """Shows it, if the last time is long enough ago."""
        now = self._clock()
        if self._began is None:
            self._began = (now, done)  # bytes of an earlier run say nothing of this connection's rate
        finished = 0 < total <= done
        if not finished and now - self._shown < (REDRAW_SECONDS if self._terminal else LOG_SECONDS):
            return
        self._shown = now
        began, first = self._began
        text = describe(self._name, done, total, done - first, now - began)
        self._out.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        self._out.flush()

    def end(self) -> None:
        """Ends the line that was written over."""
        if self._terminal and self._began is not None:
            self._out.write("\n")
            self._out.flush()


def describe(name: str, done: int, total: int, got: int, seconds: float) -> str:
    """`model.bin  42 %  203 of 484 MB  11.3 MB/s  25 s left`; `got` bytes came in `seconds`."""
    rate = got / seconds if seconds > 0 else 0.0
    parts = [name]
    if total:
        parts.append(f"{100 * done // total} %")
    parts.append(f"{done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB" if total else f"{done / MEGABYTE:.0f} MB")
    if rate:
        parts.append(f"{rate / MEGABYTE:.1f} MB/s")
    if rate and done < total:
        parts.append(f"{_span((total - done) / rate)} left")
    return "  ".join(parts)


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
