"""One service for all clients: the gateway and the starter's workers, as processes."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS = 180


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """Its URL, `http://127.0.0.1:PORT`."""
    port = free_port()
    process = subprocess.Popen(
        [REPOSITORY / ".venv/bin/python", "-m", "app", "serve", "--port", str(port)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
    )  # fmt: skip
    late = threading.Timer(READY_SECONDS, process.kill)
    late.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Parley is ready" in line:
                break
        else:
            pytest.fail(f"the service ended before it was ready, status {process.wait()}")
        late.cancel()
        yield f"http://127.0.0.1:{port}"
    finally:
        late.cancel()
        process.terminate()
        process.wait(timeout=60)
