"""No secret is in a log, a command line, an answer or a metric of a gateway that has seen all of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path

import httpx
import websockets
from websockets.typing import Subprotocol

from app import keys
from app.access import Access
from app.supervisor import free_port
from app.workers import server
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.serving import serving

WORKER_KEY = "sk-of-the-workers"
BODIES = (b"{", b"[]", b'{"model": 5}', b'{"session": {"voice": 1}}', b'{"messages": [{"role": "x"}]}')
PATHS = ("/v1/models/none", "/v1/chat/completions", "/v1/audio/speech", "/v1/realtime/client_secrets", "/v1/nowhere")


async def test_no_secret_comes_out(tmp_path: Path) -> None:
    place = str(tmp_path / "access.sqlite")
    with keys.access_database(place).session() as session:
        made = keys.create(session, "web", ["caller"])[1]
    secrets = ["sk-of-the-settings", "sk-of-operators", "sk-wrong", "ek_wrong", WORKER_KEY, made]
    said: list[str] = []
    access = Access(frozenset({WORKER_KEY}))
    language = server.language_app(ScriptedLanguage(["Yes."], repeat=True), access=access, model="en-starter")
    hears = server.recognizer_app(ScriptedRecognizer([]), access=access, model="en-starter")
    speaks = server.synthesizer_app(ScriptedSynthesizer(voices=["nova"]), access=access, model="en-starter")
    async with serving(language) as writer, serving(hears) as recognizer, serving(speaks) as synthesizer:
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "gateway", "--port", str(port), "--log-level", "debug", "--workers", "2",
            "--recognizer", recognizer, "--language", writer, "--synthesizer", synthesizer,
            env=os.environ | {
                "PARLEY_API_KEY": secrets[0], "PARLEY_OPERATOR_KEY": secrets[1], "PARLEY_WORKER_KEY": WORKER_KEY,
                "PARLEY_LANGUAGE_KEY": "sk-wrong", "PARLEY_KEY_DATABASE": place,
            },
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            async with asyncio.timeout(120):
                assert b"gateway is ready" in await process.stdout.readline()
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url) as client:
                headers = {"authorization": f"Bearer {made}"}
                ephemeral = (await client.post("/v1/realtime/client_secrets", headers=headers)).json()["value"]
                secrets.append(ephemeral)
                for key in secrets:
                    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
                    for path in PATHS:
                        for body in BODIES:
                            answer = await client.post(f"{path}?api_key={key}", headers=headers, content=body)
                            said.append(f"{answer.headers} {answer.text}")
                    said.append(await dialled(url, key))
                    said.append((await client.get("/v1/conversations", headers=headers)).text)
                said.append((await client.get("/metrics")).text)
                said.append((await client.get("/health")).text)
            said += command_lines(str(port))
        finally:
            process.terminate()
            async with asyncio.timeout(60):
                said += [stream.decode() for stream in await process.communicate()]
    assert "refused" in "".join(said)
    assert any("session of en-starter opened" in text for text in said)
    for secret in secrets:
        assert not [text for text in said if secret in text], secret


async def dialled(url: str, key: str) -> str:
    """A call, and what it got to read."""
    protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
    address = f"ws{url.removeprefix('http')}/v1/realtime?api_key={key}"
    try:
        async with websockets.connect(address, subprotocols=protocols, proxy=None) as socket:
            read = [str(await socket.recv())]
            await socket.send(json.dumps({"type": "session.update", "session": {"voice": 1}}))
            return "".join([*read, str(await socket.recv()), str(socket.response and socket.response.headers)])
    except websockets.InvalidStatus as refused:
        return f"{refused.response.headers} {refused.response.body!r}"


def command_lines(port: str) -> list[str]:
    """Of all processes that have the port there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may have ended
            found.append(path.read_text(errors="replace"))
    return [line for line in found if port in line]
