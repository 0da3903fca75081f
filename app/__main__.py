"""`parley COMMAND`: the table of commands. What each does is elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from app import __version__, config, keys_command, models, packs_command, serve, supervisor, talk
from app.access import check_bind, is_loopback
from app.bench import command as bench
from app.config import Settings
from app.errors import ParleyError
from app.jobs import command as jobs_command
from app.store import command as conversations_command


class Tool(Protocol):
    """A module with a command that ends; only `parley serve` and its processes go on."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Its command line."""

    def run(self, args: argparse.Namespace) -> int:
        """Does it, and gives the exit status. Raises ParleyError."""


COMMANDS = {
    "serve": "the whole service on this machine: gateway and workers, supervised",
    "gateway": "the gateway alone; give it the URLs of its workers",
    "recognizer": "a recognizer worker alone",
    "language": "a language worker alone: OpenAI chat completions",
    "synthesizer": "a synthesizer worker alone",
}
TOOLS: dict[str, tuple[Tool, str]] = {
    "talk": (talk, "talks to a running service with recordings"),
    "models": (models, "lists and fetches bigger models"),
    "packs": (packs_command, "versions of language packs: build, promote, roll back"),
    "jobs": (jobs_command, "fine-tuning jobs of a running service"),
    "keys": (keys_command, "API keys of callers and operators, with their limits"),
    "conversations": (conversations_command, "what is kept of calls: lists, exports, deletes"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status is 0, 1 for an error of ours, 2 for a wrong command line.

    128 and the signal's number, as shells count, for Ctrl-C and for output that nobody reads any more.
    """
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()  # here, where an error can be told; the interpreter's own flush cannot be caught
    except BrokenPipeError:
        if not _unread(sys.stdout.fileno()):
            raise  # another pipe, for instance to a process that has died
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for that flush of what is left
        return 128 + signal.SIGPIPE


def _run(arguments: Sequence[str]) -> int:
    # Training adds its commands by entry points, so that the service never imports it.
    added = {entry.name: entry for entry in importlib.metadata.entry_points(group="parley.commands")}
    if arguments[:1] == ["bench"]:  # each bench has options of its own, and is imported only when asked for
        return bench.main(arguments[1:])
    if arguments and arguments[0] in added:
        return _run_added(added[arguments[0]], arguments[1:])
    parser = _parser(added)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(arguments)
    try:
        if args.command in TOOLS:
            return TOOLS[args.command][0].run(args)
        from app import process  # with FastAPI, which other commands do without

        settings = config.settings_of(args)
        check_bind(settings.host, closed=bool(settings.api_keys) or _has_made_keys(args.command, settings))
        process.log_to_stderr(args.command, settings.log_level)
        if args.command == "serve":
            return asyncio.run(serve.serve(settings))
        if args.command == "gateway" and settings.workers > 1:
            return asyncio.run(serve.gateways_alone(settings))
        supervisor.leave_with_parent()
        process.run(args.command, settings)
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _unread(descriptor: int) -> bool:
    """Whether a pipe that is written to has no reader, as after `| head -1`."""
    pipe = select.poll()
    pipe.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in pipe.poll(0))


def _parser(added: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="parley", description="A self-hosted voice assistant service.")
    parser.add_argument("--version", action="version", version=f"parley {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, description in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description)
        config.add_arguments(command)
    for name, (tool, description) in TOOLS.items():
        tool.add_arguments(commands.add_parser(name, help=description))
    commands.add_parser("bench", add_help=False, help="measures this machine; parley bench --help")
    for name in added:
        commands.add_parser(name, add_help=False, help=f"training; parley {name} --help")
    return parser


def _run_added(entry: importlib.metadata.EntryPoint, arguments: Sequence[str]) -> int:
    try:
        command: Callable[[Sequence[str]], int] = entry.load()
        return command(arguments)
    except ModuleNotFoundError as error:
        print(f"parley: {entry.name} needs {error.name}, which `make install` brings", file=sys.stderr)
        return 1


def _has_made_keys(command: str, settings: Settings) -> bool:
    """Whether callers of a gateway need a key of the database; workers know those of the settings alone."""
    if command not in ("serve", "gateway") or is_loopback(settings.host):
        return False
    from app import keys  # with SQLAlchemy, which workers do without

    return keys.any_made_for("caller", settings.key_database)


if __name__ == "__main__":
    sys.exit(main())
