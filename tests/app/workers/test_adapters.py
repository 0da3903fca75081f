"""Adapters: what is refused before a server is asked, and a server that answers something else.

That a real vLLM server takes them is shown in tests/engines/test_vllm.py.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.errors import PackError, WorkerError, WorkerUnavailable
from app.workers.adapters import Adapters, check_adapter, rank_of


def adapter(folder: Path, *, base: object = "aa", rank: object = 8) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").touch()
    (folder / "parley_base.json").write_text(json.dumps({"base_sha256": base}))
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return folder


def test_an_adapter_of_this_base_is_accepted(tmp_path: Path) -> None:
    check_adapter(adapter(tmp_path), "aa")
    assert rank_of(tmp_path) == 8


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="was trained on base aa, expected the served base bb"):
        check_adapter(adapter(tmp_path), "bb")


def test_an_adapter_is_refused_where_the_base_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="hash of the served base is not known"):
        check_adapter(adapter(tmp_path), "")


def test_an_adapter_that_does_not_name_its_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"has no adapter_model\.safetensors"):
        check_adapter(tmp_path, "aa")
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(PackError, match=r"it has no parley_base\.json"):
        check_adapter(tmp_path, "aa")
    (tmp_path / "parley_base.json").write_text("{}")
    with pytest.raises(PackError, match="trained on base None"):
        check_adapter(tmp_path, "aa")
    (tmp_path / "parley_base.json").write_text("[]")
    with pytest.raises(PackError, match="holds list, expected an object"):
        check_adapter(tmp_path, "aa")
    (tmp_path / "parley_base.json").write_text("{")
    with pytest.raises(PackError, match="is not JSON"):
        check_adapter(tmp_path, "aa")


@pytest.mark.parametrize("rank", [0, 513, None, "8"])
def test_a_rank_that_vllm_cannot_serve_is_refused(tmp_path: Path, rank: object) -> None:
    with pytest.raises(PackError, match="expected 1 to 512"):
        rank_of(adapter(tmp_path, rank=rank))


async def test_a_server_that_is_no_vllm(serve: Callable[[FastAPI], Awaitable[str]], tmp_path: Path) -> None:
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> dict[str, int]:
        return {"data": 7}

    adapters = Adapters(await serve(app))
    with pytest.raises(WorkerError, match="without a list of models"):
        await asyncio.to_thread(adapters.names)
    with pytest.raises(WorkerError, match=r"load_lora_adapter .* with 404"):
        await asyncio.to_thread(adapters.load, "a@1", adapter(tmp_path), "aa")
    with pytest.raises(WorkerError, match=r"unload_lora_adapter .* with 404"):
        await asyncio.to_thread(adapters.unload, "a@1")
    adapters.close()


def test_nobody_there() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        adapters = Adapters(f"http://127.0.0.1:{unheard.getsockname()[1]}")
        with pytest.raises(WorkerUnavailable, match="does not answer"):
            adapters.names()
        adapters.close()
