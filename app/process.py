"""One process of the service: the gateway or a worker, made of settings and served until it is told to stop."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app import REPOSITORY, listen, tracing
from app.access import Access
from app.catalogue import Catalogue
from app.config import Settings
from app.packs import Pack, find_pack


def run(command: str, settings: Settings) -> None:
    """Serves `gateway`, `recognizer`, `language` or `synthesizer`. Raises ParleyError where it cannot begin."""
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
            python=settings.vllm_python or str(REPOSITORY / ".venv-vllm" / "bin" / "python"),
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


def log_to_stderr(process: str, level: str) -> None:
    """One readable line an event."""
    logging.basicConfig(
        level=level.upper(), format=f"%(asctime)s {process:<11} %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )
    for noisy in ("uvicorn", "httpx", "httpcore", "websockets", "faster_whisper"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
