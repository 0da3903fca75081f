"""`parley synthesizer` with a Coqui voice, as an operator starts it. Run by `make test-coqui`."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.media import decode_to
from app.supervisor import free_port
from app.workers.connect import reach_synthesizer
from tests.engines import coqui_models
from tests.engines.synthesizer_cases import pcm_of

START_SECONDS = 300  # a ceiling for a process that never comes up; a machine at rest needs ten


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """A folder of packs with one, whose voice is not for everybody."""
    (tmp_path / "tiny").mkdir()
    coqui_models.vits(tmp_path / "tiny" / "voice")
    (tmp_path / "tiny" / "pack.toml").write_text(
        '[pack]\nformat = 1\nname = "tiny"\nversion = "1"\nlanguage = "en"\n'
        '[voice]\nengine = "coqui-vits"\nnames = ["reader"]\nsample_rate = 22050\nlicence = "CC-BY-NC-4.0"\n'
    )
    return tmp_path


def command(packs: Path, port: int, *options: str) -> list[str]:
    where = [f"--packs={packs}", "--pack=tiny", f"--port={port}", "--device=cpu"]
    return [sys.executable, "-m", "app", "synthesizer", *where, *options]


@contextlib.contextmanager
def running(line: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(line)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def until_up(url: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the worker says of its health, once it says anything."""
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(timeout=START_SECONDS) as client:
        while True:
            assert process.poll() is None, "the worker has ended"
            try:
                health: dict[str, Any] = (await client.get(f"{url}/health")).json()
                return health
            except httpx.TransportError:
                await asyncio.sleep(0.2)


async def test_it_serves_the_packs_voice(packs: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(command(packs, port, "--accept-licence=CPML,CC-BY-NC-4.0")) as process:
        health = await until_up(url, process)
        async with httpx.AsyncClient(timeout=START_SECONDS) as client:
            body = {"model": "tiny", "voice": "reader", "input": "Hello there.", "response_format": "wav"}
            answer = await client.post(f"{url}/v1/audio/speech", json=body)
            spoken = await pcm_of(reach_synthesizer(url), "Hello there.")
    assert (health["engine"], health["detail"]["voices"]) == ("coqui-vits", ["reader"])
    assert answer.status_code == 200
    assert len(decode_to(answer.content, 22_050)) == pytest.approx(len(spoken) / 2, rel=0.01)


def test_a_licence_that_is_not_accepted_ends_it_in_words(packs: Path) -> None:
    ended = subprocess.run(command(packs, free_port()), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "the voice of pack tiny is under CC-BY-NC-4.0: it forbids commercial use" in ended.stderr
