"""vLLM: its command line, what is refused before it starts, and its process, with a stand-in for the interpreter.

The real server is in tests/engines/test_vllm.py.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import PackError, SettingsError, WorkerUnavailable
from app.packs import LanguageSettings, Pack
from app.workers.base_hash import base_sha256
from app.workers.vllm import VllmLanguage, base_folder, control_tokens, packs_in, server_arguments, told_rank
from app.workers.vllm_server import VllmServer
from tests.app.workers.test_adapters import adapter
from tests.packs import SCRIPTED

# Answers /health on the port it is told, and ends when asked for /end.
ANSWERING = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            sys.exit(3)
        self.send_response(200)
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def interpreter(folder: Path, program: str) -> str:
    """An executable that runs this program, whatever module it is asked for."""
    (folder / "program.py").write_text(program)
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {folder / "program.py"} "$@"\n')
    path.chmod(0o755)
    return str(path)


def on_base(folder: Path, **settings: str | int) -> Pack:
    """A pack in `folder`/pack with a base in `folder`/base."""
    base = folder / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_text("weights")
    return replace(SCRIPTED, folder=folder / "pack", language_model=LanguageSettings(base=str(base), **settings))  # type: ignore[arg-type]


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_the_command_line_follows_the_pack(tmp_path: Path) -> None:
    pack = on_base(tmp_path, context_tokens=512, tool_parser="hermes")
    arguments = server_arguments(pack, tmp_path, base_folder(pack))
    assert option(arguments, "--model") == str(tmp_path / "base")
    assert option(arguments, "--max-model-len") == "512"
    assert option(arguments, "--tool-call-parser") == "hermes"
    assert option(arguments, "--max-lora-rank") == "16"
    assert told_rank(arguments) == 16
    assert told_rank([*arguments, "--max-lora-rank=64"]) == 64
    assert {"--enable-lora", "--enable-prefix-caching", "--enable-auto-tool-choice"} <= set(arguments)
    assert "--override-generation-config" not in arguments

    adapter(tmp_path / "pack", rank=17)
    (tmp_path / "base" / "generation_config.json").write_text('{"do_sample": false}')
    arguments = server_arguments(on_base(tmp_path, adapter="."), tmp_path, tmp_path / "base")
    assert option(arguments, "--max-lora-rank") == "32"
    assert json.loads(option(arguments, "--override-generation-config")) == {"temperature": 0.0}
    assert "--tool-call-parser" not in arguments


def test_a_base_is_a_folder_or_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = on_base(tmp_path)
    (tmp_path / "pack").mkdir()
    for base in (str(tmp_path / "base"), "../base"):
        assert base_folder(replace(pack, language_model=LanguageSettings(base=base))) == tmp_path / "base"
    nowhere = replace(pack, language_model=LanguageSettings(base="nobody/has-this"))
    assert base_folder(nowhere) is None
    assert option(server_arguments(nowhere, tmp_path, None), "--model") == "nobody/has-this"


def test_control_tokens_are_those_that_the_tokenizer_calls_special(tmp_path: Path) -> None:
    assert control_tokens(tmp_path) == []
    added = [
        {"content": text, "special": special} for text, special in (("<|a|>", True), ("  ", False), ("<|ab|>", True))
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    assert control_tokens(tmp_path) == ["<|ab|>", "<|a|>"]
    (tmp_path / "tokenizer.json").write_text("{}")
    assert control_tokens(tmp_path) == []


def test_a_broken_pack_among_others_does_not_end_the_service(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pack.toml").write_text("[pack]")
    assert packs_in(tmp_path) == []


def test_packs_that_do_not_fit_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"no \[language\] base"):
        VllmLanguage(SCRIPTED, tmp_path)
    with pytest.raises(PackError, match="names base_hash aa"):
        VllmLanguage(on_base(tmp_path, base_hash="aa"), tmp_path)
    adapter(tmp_path / "pack", base="bb")
    with pytest.raises(PackError, match="was trained on base bb"):
        VllmLanguage(on_base(tmp_path, adapter="."), tmp_path)
    pack = on_base(tmp_path, base_hash=base_sha256(tmp_path / "base"))
    with pytest.raises(SettingsError, match="no Python interpreter /nowhere/python with vLLM"):
        VllmLanguage(pack, tmp_path, python="/nowhere/python")


def test_a_server_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkerUnavailable, match="ended with exit status 7 before it was ready"):
        VllmServer(interpreter(tmp_path, "raise SystemExit(7)"), [])


def test_a_server_is_started_and_ended(tmp_path: Path) -> None:
    server = VllmServer(interpreter(tmp_path, ANSWERING), [])
    process = Path(f"/proc/{server.process_id}")
    assert process.exists()
    server.close()
    assert not process.exists()


@pytest.mark.parametrize("killed", [False, True])
async def test_worker_and_server_end_together(tmp_path: Path, killed: bool) -> None:
    """The server ends by itself, and the worker with it; or the worker is killed, and the server with it."""
    program = f"""
import sys, time, urllib.request
from app.workers.vllm_server import VllmServer
server = VllmServer({interpreter(tmp_path, ANSWERING)!r}, [])
print(server.process_id, flush=True)
if {not killed}:
    try:
        urllib.request.urlopen(server.url + "/end")
    except OSError:
        pass
time.sleep(60)
"""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    server = int(await worker.stdout.readline())
    if killed:
        worker.kill()
    assert await worker.wait() == -(signal.SIGKILL if killed else signal.SIGTERM)
    while is_running(server):
        await asyncio.sleep(0.02)


def is_running(process_id: int) -> bool:
    """False also for one that ended and that nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
