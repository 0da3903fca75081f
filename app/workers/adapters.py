"""LoRA adapters in a running vLLM server: loaded and unloaded over HTTP, named PACK@VERSION. Knows no prompt.

vLLM loads an adapter of another base of the same shape without complaint, so the base's hash is compared here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import httpx

from app.errors import PackError, WorkerError, WorkerUnavailable

BASE_FILE: Final = "parley_base.json"
"""Beside an adapter's weights: {"base_sha256": HEX}, as `base_hash.base_sha256` gives it."""
LOAD_SECONDS: Final = 120.0  # an adapter of a large model is read from disk and copied to every GPU
RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM accepts as --max-lora-rank (vllm/config/lora.py, 0.32)


def check_adapter(folder: Path, base_sha256: str) -> None:
    """Raises PackError for an adapter that was not trained on this base, or whose weights are no safetensors."""
    if not (folder / "adapter_model.safetensors").is_file():  # vLLM takes pickles too, and loading one can run code
        raise PackError(f"adapter {folder} has no adapter_model.safetensors")
    trained_on = _read(folder / BASE_FILE).get("base_sha256")
    if not base_sha256:
        raise PackError(f"adapter {folder} needs base {trained_on}, but the hash of the served base is not known")
    if trained_on != base_sha256:
        raise PackError(f"adapter {folder} was trained on base {trained_on}, expected the served base {base_sha256}")


def rank_of(folder: Path) -> int:
    """The rank of the adapter in a folder. Raises PackError."""
    rank = _read(folder / "adapter_config.json").get("r")
    if not isinstance(rank, int) or not 0 < rank <= RANKS[-1]:
        raise PackError(f"{folder / 'adapter_config.json'}: r is {rank!r}, expected 1 to {RANKS[-1]}")
    return rank


class Adapters:
    """The adapters of one server. Calls wait for the server: they belong into a thread."""

    def __init__(self, url: str, *, api_key: str = "") -> None:
        """`url` is the server's, without /v1; it must run with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1."""
        self._http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=LOAD_SECONDS,
            trust_env=False,
        )

    def names(self) -> list[str]:
        """All models that the server answers for: the base's names first, then adapters. Raises WorkerError."""
        answer = self._ask("GET", "/v1/models")
        try:
            return [str(entry["id"]) for entry in answer.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise WorkerError(f"{answer.url} answered without a list of models: {answer.text[:200]}") from error

    def load(self, name: str, folder: Path, base_sha256: str) -> None:
        """Loads an adapter under a name. Raises PackError for one of another base, WorkerError as the server does."""
        check_adapter(folder, base_sha256)
        self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder.resolve())})

    def unload(self, name: str) -> None:
        """Takes an adapter out; replies that it is writing are finished. Raises WorkerError where it is not loaded."""
        self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise WorkerUnavailable(f"vLLM at {self._http.base_url} does not answer: {error}") from error
        if answer.is_error:
            raise WorkerError(f"vLLM answered {path} {body or ''} with {answer.status_code}: {answer.text[:300]}")
        return answer


def _read(path: Path) -> dict[str, object]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackError(f"{path.parent} is no adapter of ours: it has no {path.name}") from None
    except ValueError as error:
        raise PackError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise PackError(f"{path} holds {type(values).__name__}, expected an object")
    return values
