"""How a command of training ends: its own exit status, or an error of ours as one line. Knows no command."""

from __future__ import annotations

import sys
from collections.abc import Callable

from app.errors import ParleyError

INTERRUPTED = 130  # as shells have it: 128 and SIGINT
SAME = "the same command goes on from here"


def exit_status(run: Callable[[], int], *, again: str = "") -> int:
    """What `run` gives, 1 for an error of ours, 130 for Ctrl-C. `again`: how to go on with what was begun."""
    try:
        return run()
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if again:
            print(f"parley: interrupted; {again}", file=sys.stderr)
        return INTERRUPTED
