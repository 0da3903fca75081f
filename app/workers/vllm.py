"""The language model on vLLM: one base model, and the adapters of all packs that were trained on it, by pack name.

Starts the real vLLM server, or joins one that runs. A pack without an adapter is served by the base itself. Knows no
session; talks to vLLM as any client of OpenAI's API does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Final

from app.errors import PackError, ParleyError
from app.packs import Pack, find_pack, list_packs
from app.workers.adapters import RANKS, Adapters, check_adapter, rank_of
from app.workers.base import ChatRequest, Health, ReplyPart
from app.workers.base_hash import base_sha256
from app.workers.history import without_control_tokens
from app.workers.openai_chat import OpenAIChat
from app.workers.vllm_server import VllmServer

log = logging.getLogger("parley.vllm")

BASE: Final = "base"
"""The base model's name at a server that we start."""
USUAL_RANK: Final = 16  # of an adapter by `parley finetune language`: one that comes later should find room
MAX_LORAS: Final = 4  # different adapters in one batch; each takes GPU memory whether used or not
MAX_CPU_LORAS: Final = 32  # adapters kept in memory; the one not used for longest is read from disk again


class VllmLanguage:
    """Satisfies LanguageModel."""

    def __init__(
        self,
        pack: Pack,
        packs: Path,
        *,
        python: str = "",
        arguments: Sequence[str] = (),
        url: str = "",
        api_key: str = "",
    ) -> None:
        """Serves `pack`, and of the folder `packs` all of the same base.

        With a `url` (and its `api_key`) the server there is joined; else one is started with the interpreter `python`
        and more `arguments` of vLLM's. Returns when the server answers and has the adapters. Raises PackError where
        the pack does not fit its base, SettingsError, WorkerError.
        """
        settings = pack.language_model
        if not settings.base:
            raise PackError(f"pack {pack.name} has no [language] base, expected a Hugging Face folder or hub name")
        self._pack = pack
        self._packs = packs
        base = base_folder(pack)
        self.base_sha256 = _base_sha256(pack, base)
        if pack.adapter_folder:
            check_adapter(pack.adapter_folder, self.base_sha256)
        self.server: VllmServer | None = None
        """The server that was started; None for one that was joined."""
        self._most_rank = RANKS[-1]  # of a server that is joined, where nobody knows it
        if not url:
            told = [*server_arguments(pack, packs, base), *arguments]
            self._most_rank = told_rank(told)
            self.server = VllmServer(python, told)
            url, api_key = self.server.url, self.server.api_key
        self.url = url.removesuffix("/v1")
        self.adapters = Adapters(self.url, api_key=api_key)
        self._chat = OpenAIChat(self.url, api_key=api_key)
        self._control_tokens = control_tokens(base) if base else []
        self._models: dict[str, str] = {}  # NAME@VERSION of a pack -> the server's name for it
        self._refused: set[str] = set()
        self._loading = threading.Lock()
        try:
            self._base_model = self.adapters.names()[0]
            self._take(pack)
            self._follow_packs()
        except BaseException:
            self.close()
            raise

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """As the base or a pack's adapter writes it. Raises UnknownModel, PackError, and what OpenAIChat does."""
        model = self._models.get(request.model or self._pack.reference)
        if model is None:  # a name without version, or a pack that came after the start
            model = await asyncio.to_thread(self._find, request.model)
        messages = without_control_tokens(request.messages, self._control_tokens)
        parts: AsyncGenerator[ReplyPart, None] = self._chat.reply(  # type: ignore[assignment]
            replace(request, messages=messages, model=model)
        )
        async with aclosing(parts):  # or closing this reply would leave the other's connection open
            async for part in parts:
                yield part

    async def health(self) -> Health:
        """Whether vLLM answers, and which packs it serves; also follows the packs that came or went since."""
        await self._chat.health()
        await asyncio.to_thread(self._follow_packs)
        detail = {"url": self.url, "base_sha256": self.base_sha256, "packs": sorted(self._models)}
        return Health("language", "vllm", self._pack.name, detail)

    def close(self) -> None:
        """Ends the server, where we started it."""
        self.adapters.close()
        if self.server is not None:
            self.server.close()

    def _find(self, model: str) -> str:
        """The server's name for a pack by name, or one that was not there before. Raises UnknownModel, PackError."""
        pack = find_pack(self._packs, model)
        with self._loading:
            if pack.reference not in self._models:
                self._take(pack)
            return self._models[pack.reference]

    def _follow_packs(self) -> None:
        """Makes the server's adapters those of the packs on disk; a server that was started again gets them again."""
        with self._loading:
            packs = {pack.reference: pack for pack in [self._pack, *packs_in(self._packs)]}
            at_server = self.adapters.names()
            for reference in set(self._models) - set(packs):
                if reference in at_server:
                    self.adapters.unload(reference)
                del self._models[reference]
            for reference, pack in packs.items():
                if self._models.get(reference) not in at_server and reference not in self._refused:
                    try:
                        self._take(pack)
                    except ParleyError as error:  # one bad pack must not keep the others from being served
                        self._refused.add(reference)
                        log.warning("pack %s is not served: %s", reference, error.message)

    def _take(self, pack: Pack) -> None:
        """Serves a pack: loads its adapter, unless the server has it. Raises PackError for one of another base."""
        name = self._base_model
        if pack.adapter_folder:
            name = pack.reference
            check_adapter(pack.adapter_folder, self.base_sha256)
            if (rank := rank_of(pack.adapter_folder)) > self._most_rank:  # vLLM 0.32 would end over it, for everyone
                raise PackError(
                    f"pack {pack.reference}: its adapter has rank {rank}, expected at most {self._most_rank}, with "
                    f"which vLLM was started; a restart takes it"
                )
            if name not in self.adapters.names():
                self.adapters.load(name, pack.adapter_folder, self.base_sha256)
        elif pack.reference != self._pack.reference and pack.language_model.base_hash != self.base_sha256:
            theirs = pack.language_model.base_hash or "none"
            raise PackError(f"pack {pack.reference} names base_hash {theirs}, expected that served, {self.base_sha256}")
        self._models[pack.reference] = name
        log.info("pack %s is served by %s", pack.reference, name)


def server_arguments(pack: Pack, packs: Path, base: Path | None) -> list[str]:
    """vLLM's command line for a pack's base; `base` is its folder, where it is on this machine."""
    settings = pack.language_model
    arguments = [
        *("--model", str(base) if base else settings.base, "--served-model-name", BASE),
        *("--max-model-len", str(settings.context_tokens)),
        "--enable-prefix-caching",
        *("--enable-lora", "--max-lora-rank", str(_largest_rank([pack, *packs_in(packs)]))),
        *("--max-loras", str(MAX_LORAS), "--max-cpu-loras", str(MAX_CPU_LORAS)),
        "--disable-uvicorn-access-log",
    ]
    if settings.tool_parser:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", settings.tool_parser]
    if base and not _samples(base):
        # vLLM takes temperatures from generation_config.json, but not that the model is not to be sampled from.
        arguments += ["--override-generation-config", '{"temperature": 0.0}']
    return arguments


def packs_in(root: Path) -> list[Pack]:
    """The packs below `root`; none where one of them is broken, which must not end what is being served."""
    try:
        return list_packs(root)
    except PackError as error:
        log.warning("%s; no pack but this worker's own is served", error.message)
        return []


def base_folder(pack: Pack) -> Path | None:
    """Where a pack's base lies on this machine: a folder, within the pack or not, or a download of the hub's."""
    base = pack.language_model.base
    for folder in (pack.folder / base, Path(base)):
        if folder.is_dir():
            return folder.resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError):
        return None


def control_tokens(base: Path) -> list[str]:
    """What only the chat template may write, longest first. vLLM takes them for control tokens wherever they stand."""
    try:
        added = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
        tokens = [str(token["content"]) for token in added if token["special"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("control tokens of callers are not filtered: no list of them in %s (%r)", base, error)
        return []
    return sorted(filter(None, tokens), key=len, reverse=True)


def _base_sha256(pack: Pack, base: Path | None) -> str:
    """The base's hash; empty where nobody knows it. Raises PackError where it is not the one that the pack names."""
    named = pack.language_model.base_hash
    if base is None:
        return named
    log.info("hashing the base in %s", base)
    found = base_sha256(base)
    if named and named != found:
        raise PackError(f"pack {pack.name} names base_hash {named}, but the base in {base} has {found}")
    return found


def _largest_rank(packs: Sequence[Pack]) -> int:
    """The smallest rank of those that vLLM offers which all adapters fit into, and those of usual training later."""
    largest = USUAL_RANK
    for pack in packs:
        if pack.adapter_folder:
            try:
                largest = max(largest, rank_of(pack.adapter_folder))
            except PackError as error:
                log.warning("pack %s: %s", pack.name, error.message)
    return next(rank for rank in RANKS if rank >= largest)


def told_rank(arguments: Sequence[str]) -> int:
    """The largest rank that a command line of vLLM allows; the last word counts."""
    return int(re.findall(r"--max-lora-rank[= ](\d+)", " ".join(arguments))[-1])


def _samples(base: Path) -> bool:
    file = base / "generation_config.json"
    return not file.is_file() or json.loads(file.read_text(encoding="utf-8")).get("do_sample") is not False
