"""How a command of training ends: its own exit status, or an error of ours as one line. Knows no command."""

from __future__ import annotations

import sys
from collections.abc import Callable

from app.errors import ParleyError

INTERRUPTED = 130  # as shells have it: 128 and SIGINT


def exit_status(run: Callable[[], int], *, goes_on: bool = False) -> int:
    """What `run` gives, 1 for an error of ours, 130 for Ctrl-C. `goes_on`: the same command takes up what it began."""
    try:
        return run()
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if goes_on:
            print("parley: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
