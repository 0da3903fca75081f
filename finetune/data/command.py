"""`parley data ACTION`: found by the service's command line as an entry point, so that it need not know of training.

Knows of the actions only their names: each is a module with `add_arguments(parser)` and `run(args) -> int`, imported
when it is asked for.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from finetune.exit_status import exit_status

ACTIONS = {
    "import": ("importing", "a corpus becomes a folder with manifest and audio"),
    "check": ("check", "every fault of a manifest at once, with a page to look and listen"),
    "split": ("split", "train, dev and test without shared speakers and texts"),
    "audit": ("audit", "refuses splits that share speakers, texts or recordings"),
    "tokens": ("tokens", "what a language costs in tokens, and whether more of them can be served"),
    "augment": ("augmenting", "copies with noise, rooms, other speed and pitch"),
    "speakers": ("speakers", "whose voice is in what; forgets a speaker"),
}


def main(arguments: Sequence[str]) -> int:
    """Runs one action. Exit status 0, 1 for faults that were found or an error of ours, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="parley data", description="Data for training: from recordings to splits.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (module, what) in ACTIONS.items():
        action = actions.add_parser(name, help=what, description=what)
        if arguments[:1] == [name]:  # the others' libraries are not needed
            importlib.import_module(f"finetune.data.{module}").add_arguments(action)
    args = parser.parse_args(arguments)
    return exit_status(lambda: int(importlib.import_module(f"finetune.data.{ACTIONS[args.action][0]}").run(args)))
