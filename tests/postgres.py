"""A real PostgreSQL for tests, where the machine has the programs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.supervisor import free_port

POSTGRES = Path("/usr/lib/postgresql")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of its own on loopback; gives its URL. It refuses to be root's."""
    programs = sorted(POSTGRES.glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    folder = tmp_path_factory.mktemp("postgres")
    user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    place = Path("/tmp") / f"parley-postgres-{os.getpid()}" if os.getuid() == 0 else folder / "data"
    bin, port = programs[-1].parent, free_port()
    if os.getuid() == 0:
        place.mkdir(mode=0o700)
        shutil.chown(place, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user if os.getuid() == 0 else None, cwd="/", stdout=subprocess.DEVNULL)

    run(str(bin / "initdb"), "-D", str(place), "-U", "parley", "--auth=trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync=off"
    try:
        run(str(bin / "pg_ctl"), "-D", str(place), "-w", "-o", options, "-l", str(place / "log"), "start")
        yield f"postgresql+pg8000://parley@127.0.0.1:{port}/postgres"
    finally:
        run(str(bin / "pg_ctl"), "-D", str(place), "-m", "immediate", "stop")
        shutil.rmtree(place)
