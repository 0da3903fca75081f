"""`python -m tests.soak [WORD]`: every row, or those whose name has the word; prints what was tried and what happened.

All on loopback, against a gateway in this process whose workers are scripted. Time is scaled where a row says so.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import time
import traceback

from tests.soak import events, sockets, times

ROWS = [*events.ROWS, *sockets.ROWS, *times.ROWS]
ROW_SECONDS = 300  # for one row; a machine may be busy


async def soak(word: str) -> int:
    """Runs the rows; how many of them failed."""
    failed = 0
    for row in (row for row in ROWS if word in row.__name__):
        name = (row.__doc__ or row.__name__).strip().splitlines()[0]
        print(f"{name}", flush=True)
        started = time.monotonic()
        try:
            async with asyncio.timeout(ROW_SECONDS):
                happened = await row()
        except Exception:
            failed += 1
            happened = f"FAILED\n{traceback.format_exc()}"
        print(f"    {happened} ({time.monotonic() - started:.1f} s)", flush=True)
    return failed


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a thousand callers have two thousand sockets here
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    if not any(wanted in row.__name__ for row in ROWS):
        sys.exit(f"no row is called {wanted!r}; there are: {', '.join(row.__name__ for row in ROWS)}")
    missed = asyncio.run(soak(wanted))
    print(f"{missed} rows failed" if missed else "every row as expected")
    sys.exit(bool(missed))
