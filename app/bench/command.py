"""`parley bench [NAME]`: runs one bench, shows its figures and keeps them. Knows of the benches only their names.

A bench is a module `app/bench/NAME.py` with `add_arguments(parser)` and `run(args) -> Report`. It is imported when it
is asked for, since each needs other libraries.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from app.bench.report import machine, save, show
from app.errors import ParleyError

BENCHES = {
    "talk": "whole turns of callers in real time",
    "gateway": "what the gateway adds, with scripted workers",
    "recognizer": "utterances per second, against stock faster-whisper",
    "synthesizer": "first audio and real-time factor of the voice",
    "turns": "ends of turns and back-channels told right, on recordings with known timing",
    "vllm": "a language server direct, and through the gateway",
}
FOLDER = Path("runs/bench")


def main(arguments: Sequence[str]) -> int:
    """Runs a bench, `talk` where none is named. Status 1 for an error or what did not come, 2 for a wrong command."""
    named = bool(arguments) and not arguments[0].startswith("-")
    name, options = (arguments[0], arguments[1:]) if named else ("talk", arguments)
    listed = "\n".join(f"  {bench:<12} {what}" for bench, what in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog=f"parley bench {name}" if named else "parley bench",
        description=BENCHES.get(name),
        epilog=f"benches (parley bench NAME --help):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name not in BENCHES:
        parser.error(f"no bench {name!r}; there are: {', '.join(BENCHES)}")
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"folder for the JSON and the picture [{FOLDER}]")
    try:
        bench = importlib.import_module(f"app.bench.{name}")
        bench.add_arguments(parser)
        args = parser.parse_args(options)
        here = machine()  # before the bench loads it
        report = bench.run(args)
        report = dataclasses.replace(report, configuration={**here, **report.configuration})
        print(f"\n{show(report)}")
        print(f"\nwritten to {save(report, args.out)}")
        for failure in report.failures:
            print(f"parley: {failure}", file=sys.stderr)
        return 1 if report.failures else 0
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"parley: bench {name} needs {error.name}, which `make install` brings", file=sys.stderr)
        return 1
