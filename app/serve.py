"""`parley serve`: the whole service as processes under one supervisor. Loads no model itself."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from app import config, listen, metrics, supervisor
from app.config import Settings
from app.packs import find_pack

STAGES = ("recognizer", "language", "synthesizer")


async def serve(settings: Settings) -> int:
    """Gateway and workers, those started that have no URL yet; until SIGINT or SIGTERM, then 0.

    Raises SettingsError, PackError.
    """
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


async def gateways_alone(settings: Settings) -> int:
    """Several gateway processes on one port; until SIGINT or SIGTERM, then 0. Raises SettingsError."""
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
