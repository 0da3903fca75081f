"""The wiring: `parley COMMAND`. The only reader of settings."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import importlib.metadata
import logging
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi import FastAPI

from app import __version__, config, keys_command, listen, metrics, models, packs_command, supervisor, talk, tracing
from app.access import Access, check_bind, is_loopback
from app.bench import command as bench
from app.catalogue import Catalogue
from app.config import Settings
from app.errors import ParleyError
from app.jobs import command as jobs_command
from app.packs import Pack, find_pack
from app.store import command as conversations_command


class Tool(Protocol):
    """A module with a command that ends; only `parley serve` and its processes go on."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Its command line."""

    def run(self, args: argparse.Namespace) -> int:
        """Does it, and gives the exit status. Raises ParleyError."""


STAGES = ("recognizer", "language", "synthesizer")
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
    """Runs one command; the exit status is 0, 1 for an error of ours, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="parley", description="A self-hosted voice assistant service.")
    parser.add_argument("--version", action="version", version=f"parley {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, description in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description)
        config.add_arguments(command)
    for name, (tool, description) in TOOLS.items():
        tool.add_arguments(commands.add_parser(name, help=description))
    commands.add_parser("bench", add_help=False, help="measures this machine; parley bench --help")
    # Training adds its commands by entry points, so that the service never imports it.
    added = {entry.name: entry for entry in importlib.metadata.entry_points(group="parley.commands")}
    for name in added:
        commands.add_parser(name, add_help=False, help=f"training; parley {name} --help")
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["bench"]:  # each bench has options of its own, and is imported only when asked for
        return bench.main(arguments[1:])
    if arguments and arguments[0] in added:
        return _run_added(added[arguments[0]], arguments[1:])
    args = parser.parse_args(arguments)
    try:
        if args.command in TOOLS:
            return TOOLS[args.command][0].run(args)
        settings = config.settings_of(args)
        check_bind(settings.host, closed=bool(settings.api_keys) or _has_made_keys(args.command, settings))
        _log_to_stderr(args.command, settings.log_level)
        if args.command == "serve":
            return asyncio.run(_serve(settings))
        if args.command == "gateway" and settings.workers > 1:
            return asyncio.run(_gateways_alone(settings))
        supervisor.leave_with_parent()
        _run_process(args.command, settings)
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


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
    from app import keys

    database = keys.access_database(settings.key_database)
    if not database.begun:
        return False
    with contextlib.closing(database), database.session() as session:
        return "caller" in keys.scopes_made(session)


async def _serve(settings: Settings) -> int:
    from app.workers import connect

    find_pack(Path(settings.packs), settings.pack)  # refused here, once, instead of by four processes
    connect.check_recognizer(settings.recognizer)
    port = settings.port or supervisor.free_port()
    supervisor.check_port(settings.host, port)
    urls = {stage: getattr(settings, stage) for stage in STAGES}
    children = []
    for stage in STAGES:
        on_vllm = stage == "language" and settings.engine == "vllm"
        if connect.is_url(urls[stage]) and not on_vllm:
            continue
        worker = dataclasses.replace(
            settings, host="127.0.0.1", port=supervisor.free_port(), api_key="", tls_cert="", tls_key=""
        )
        urls[stage] = f"http://127.0.0.1:{worker.port}"
        arguments = [stage, *config.arguments_of(worker)]
        environment = dict.fromkeys(config.secrets_of(settings), "")
        if on_vllm:  # it may join a server that asks for a key
            environment["PARLEY_LANGUAGE_KEY"] = settings.language_key
        limit = supervisor.VLLM_START_SECONDS if on_vllm else supervisor.START_SECONDS
        children.append(supervisor.Child(stage, arguments, f"{urls[stage]}/health", environment, start_seconds=limit))
    here = settings.url_at(port)

    def ready() -> None:
        print(
            f"\nParley is ready at {here} (pack {settings.pack}).\n"
            f"  Talk to it:        open {here} in a browser and allow the microphone\n"
            f"  No microphone:     parley talk question.wav --url {here}\n"
            f"  OpenAI clients:    base_url={here}/v1, model={settings.pack}\n"
            f"  Train it:          {here}/operator\n"
            f"  Stop it:           Ctrl-C\n",
            flush=True,
        )

    with _gateways(dataclasses.replace(settings, port=port, **urls)) as gateways:
        await _supervise([*children, *gateways], ready)
    return 0


async def _gateways_alone(settings: Settings) -> int:
    port = settings.port or supervisor.free_port()
    supervisor.check_port(settings.host, port)
    with _gateways(dataclasses.replace(settings, port=port)) as gateways:
        await _supervise(gateways, lambda: print(f"Parley's gateway is ready at {settings.url_at(port)}", flush=True))
    return 0


@contextlib.contextmanager
def _gateways(settings: Settings) -> Iterator[list[supervisor.Child]]:
    """As many gateway processes as the settings say; several share the port, and a folder for their metrics."""
    arguments = ["gateway", *config.arguments_of(dataclasses.replace(settings, workers=1))]
    secrets = config.secrets_of(settings)
    if settings.workers == 1:
        here = f"{settings.url_at(settings.port)}/health"
        yield [supervisor.Child("gateway", arguments, here, secrets, drain_seconds=settings.drain_seconds)]
        return
    with tempfile.TemporaryDirectory(prefix="parley-metrics-") as folder:
        children = []
        for number in range(settings.workers):
            own_port = supervisor.free_port()
            environment = {**secrets, listen.OWN_PORT: str(own_port), metrics.SHARED_FOLDER: folder}
            health = f"{settings.scheme}://127.0.0.1:{own_port}/health"
            name = f"gateway {number + 1}"
            drain = settings.drain_seconds
            children.append(supervisor.Child(name, arguments, health, environment, drain_seconds=drain))
        yield children


async def _supervise(children: Sequence[supervisor.Child], ready: Callable[[], None]) -> None:
    running = asyncio.create_task(supervisor.supervise(children, ready))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _run_process(command: str, settings: Settings) -> None:
    if settings.otel_endpoint:
        tracing.start(settings.otel_endpoint, command)
    accounts = None
    if command == "gateway":
        from app.accounts import Accounts
        from app.keys import access_database

        accounts = Accounts(access_database(settings.key_database))
    access = Access(settings.api_keys, settings.operator_keys, settings.hosts, settings.origins, accounts)
    pack = find_pack(Path(settings.packs), settings.pack)
    app = _gateway(settings, pack, access) if command == "gateway" else _worker(command, settings, pack, access)
    tls = {"tls_cert": settings.tls_cert, "tls_key": settings.tls_key}
    listen.run(app, settings.host, settings.port, seats=getattr(app.state, "seats", None), **tls)


def _gateway(settings: Settings, pack: Pack, access: Access) -> FastAPI:
    from app.gateway import GatewayOptions, create_app
    from app.jobs.service import Jobs
    from app.speaking import Workers
    from app.store.store import conversations_database
    from app.workers import connect

    workers = Workers(
        connect.reach_recognizer(settings.recognizer, api_key=settings.worker_key),
        connect.reach_language(settings.language, api_key=settings.language_key, model=settings.language_model),
        connect.reach_synthesizer(settings.synthesizer, api_key=settings.worker_key),
    )
    options = GatewayOptions(
        max_sessions=settings.max_sessions,
        drain_seconds=settings.drain_seconds,
        packs=Path(settings.packs),
        default_pack=settings.pack,
    )
    jobs = None
    if settings.jobs:
        jobs = Jobs(
            Path(settings.jobs),
            packs=Path(settings.packs),
            datasets=Path(settings.datasets),
            database=settings.jobs_database,
            devices=settings.devices,
        )
    conversations = conversations_database(settings.store) if settings.store else None
    return create_app(pack, workers, access=access, options=options, jobs=jobs, conversations=conversations)


def _worker(command: str, settings: Settings, pack: Pack, access: Access) -> FastAPI:
    from app.workers import connect, server
    from app.workers.shelf import Shelf, free_memory
    from app.workers.shelf_routes import shelf_routes
    from app.workers.shelved import ShelvedLanguage, ShelvedRecognizer, ShelvedSynthesizer

    # Each engine counts its own threads; OpenMP's default of one per core, times three workers, fights over the cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    device, threads = settings.device, settings.threads
    packs = Catalogue(pack, Path(settings.packs), name=settings.pack)
    if command == "language" and settings.engine == "vllm":
        vllm = connect.load_vllm(
            pack,
            Path(settings.packs),
            python=settings.vllm_python or str(config.REPOSITORY / ".venv-vllm" / "bin" / "python"),
            arguments=shlex.split(settings.vllm_arguments),
            url=settings.language,
            api_key=settings.language_key,
        )
        return server.language_app(vllm, access=access, model=pack.name, models=packs)

    def shelf(build: Callable[[Pack], Any], folder: Callable[[Pack], Path]) -> Shelf[Any]:
        held = Shelf(command, packs, build, folder, resident=settings.resident_packs, free_memory=free_memory)
        held.load_default()
        return held

    if command == "recognizer":
        held = shelf(
            lambda pack: connect.load_recognizer(
                pack, settings.recognizer, device=device, compute_type=settings.compute_type, threads=threads
            ),
            lambda pack: pack.recognizer_folder,
        )
        app = server.recognizer_app(ShelvedRecognizer(held), access=access, model=pack.name, models=packs)
    elif command == "language":
        held = shelf(
            lambda pack: connect.load_language(pack, device=device, threads=threads),
            lambda pack: pack.language_folder,
        )
        app = server.language_app(ShelvedLanguage(held), access=access, model=pack.name, models=packs)
    else:
        held = shelf(
            lambda pack: connect.load_synthesizer(
                pack, device=device, threads=threads, accepted_licences=settings.accepted_licences
            ),
            lambda pack: pack.voice_folder,
        )
        app = server.synthesizer_app(ShelvedSynthesizer(held), access=access, model=pack.name, models=packs)
    app.include_router(shelf_routes(held))
    return app


def _log_to_stderr(process: str, level: str) -> None:
    """One readable line an event."""
    logging.basicConfig(
        level=level.upper(), format=f"%(asctime)s {process:<11} %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )
    for noisy in ("uvicorn", "httpx", "httpcore", "websockets", "faster_whisper"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
