"""The OpenAPI document against the gateway that wrote it: schemathesis sends what the document allows, and what not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.clients.conftest import READY_SECONDS, REPOSITORY, free_port

KEY = "sk-anybody"  # of tests.clients.scripted_service
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "ignored_auth",
)  # fmt: skip


@pytest.fixture(scope="module")
def scripted() -> Iterator[str]:
    """A gateway whose workers do no work: its URL."""
    port = free_port()
    python = REPOSITORY / ".venv/bin/python"
    process = subprocess.Popen([python, "-m", "tests.clients.scripted_service", str(port)], cwd=REPOSITORY)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(url):
            assert process.poll() is None, "the gateway ended before it was ready"
            assert time.monotonic() < deadline, "the gateway does not answer"
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/health") as answer:
            return answer.status == 200
    except URLError:
        return False


def test_schemathesis_finds_nothing(scripted: str) -> None:
    command = [
        REPOSITORY / ".venv-clients/bin/schemathesis", "run", f"{scripted}/openapi.json",
        "-H", f"Authorization: Bearer {KEY}", "--phases", "examples,coverage,fuzzing", "-c", ",".join(CHECKS),
        "-n", "10", "--seed", "1", "--generation-database", "none", "--no-color",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
