"""The packs that one worker holds in memory: loaded when asked for, counted while used, evicted when idle.

Every utterance, reply or clause holds its pack, which is never taken away meanwhile. A session asks for the same
NAME@VERSION each time; one whose pack was evicted between two turns waits until it is loaded again. Knows no engine.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from app.catalogue import Catalogue
from app.errors import InsufficientMemory, PackInUse, ParleyError, UnknownModel, WorkerBusy
from app.packs import Pack

log = logging.getLogger("parley.packs")

MEMORY_FACTOR = 2.0  # of a pack's files: the weights, and as much again for conversion and working memory
MIB = 1024 * 1024

S = TypeVar("S")


@dataclass(slots=True, eq=False)
class Shelved(Generic[S]):
    """One pack in memory."""

    pack: Pack
    engine: S
    bytes: int
    """Estimate of the memory that it takes."""
    users: int = 0
    used: int = 0
    """Rises with every use: the lowest was not used for longest."""


class Shelf(Generic[S]):
    """The loaded packs of one stage."""

    def __init__(
        self,
        stage: str,
        packs: Catalogue,
        build: Callable[[Pack], S],
        folder: Callable[[Pack], Path],
        *,
        resident: int,
        free_memory: Callable[[], int],
    ) -> None:
        """`build` makes a pack's engine, blocking; `folder` has its weights; at most `resident` are loaded at once.

        `free_memory` gives bytes. Memory of a GPU is not looked at: `resident` is the limit there.
        """
        self.stage = stage
        self.packs = packs
        self._build = build
        self._folder = folder
        self._resident = resident
        self._free_memory = free_memory
        self._loaded: dict[str, Shelved[S]] = {}  # by NAME@VERSION
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._uses = itertools.count(1)
        self._changing = asyncio.Lock()  # one load or unload at a time; uses of what is loaded do not wait for it

    def load_default(self) -> Pack:
        """Loads the default pack, blocking, before there is anything else. Raises what `build` does."""
        pack = self.packs.find("")
        self._put(pack, self._build(pack))
        return pack

    async def take(self, model: str) -> Shelved[S]:
        """The pack that `model` means, loaded if need be, held until `give_back`.

        Raises UnknownModel, PackError, WorkerBusy where each loaded pack is in use and no more may be,
        InsufficientMemory.
        """
        # A running session's pack is taken as it is loaded, even if it is no longer on disk.
        pack = self._loaded[model].pack if model in self._loaded else self.packs.find(model)
        shelved = await self._get(pack)
        shelved.users += 1
        return shelved

    def give_back(self, shelved: Shelved[S]) -> None:
        """Ends one use."""
        shelved.users -= 1

    async def load(self, model: str) -> dict[str, Any]:
        """Loads a pack ahead of its first use; gives its state. Raises as `take`."""
        return _state(await self._get(self.packs.find(model)))

    async def unload(self, model: str) -> dict[str, Any]:
        """Takes an idle pack out of memory. Raises PackInUse, and UnknownModel for one that is not loaded."""
        reference = model if model in self._loaded else self.packs.find(model).reference
        async with self._changing:
            shelved = self._loaded.get(reference)
            if shelved is None:
                raise UnknownModel(f"{reference} is not loaded; loaded are: {', '.join(self._loaded) or 'none'}")
            if shelved.users:
                raise PackInUse(f"{reference} is in use {shelved.users} times, expected none; try again later")
            await self._drop(shelved)
        return {"id": reference, "state": "on disk"}

    def states(self) -> list[dict[str, Any]]:
        """Every pack that is loaded or could be, and those that cannot, with the reason."""
        states = {name: _state(shelved) for name, shelved in self._loaded.items()}
        for name in self.packs.names():
            try:
                reference = self.packs.find(name).reference
            except ParleyError as error:
                states[name] = {"id": name, "state": "broken", "error": error.message}
            else:
                states.setdefault(reference, {"id": reference, "state": "on disk"})
        return list(states.values())

    def loaded(self) -> list[Shelved[S]]:
        """What is in memory, the one used last first."""
        return sorted(self._loaded.values(), key=lambda shelved: -shelved.used)

    def close(self) -> None:
        """Ends all engines, blocking; nothing can be asked of them afterwards."""
        while self._loaded:
            _, shelved = self._loaded.popitem()
            _close(shelved.engine)

    async def _get(self, pack: Pack) -> Shelved[S]:
        while (shelved := self._loaded.get(pack.reference)) is None:  # again where it was evicted before we ran
            loading = self._loading.get(pack.reference)
            if loading is None:
                loading = self._loading[pack.reference] = asyncio.create_task(self._load(pack))
                loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # perhaps nobody waits
            # Whoever waits may leave; an engine half made cannot be stopped, and must not be left lying about.
            await asyncio.shield(loading)
        shelved.used = next(self._uses)
        return shelved

    async def _load(self, pack: Pack) -> None:
        try:
            async with self._changing:
                await self._make_room(pack)
                self._put(pack, await asyncio.to_thread(self._build, pack))
        finally:
            del self._loading[pack.reference]

    def _put(self, pack: Pack, engine: S) -> None:
        log.info("%s: loaded %s", self.stage, pack.reference)
        self._loaded[pack.reference] = Shelved(pack, engine, self._bytes(pack), used=next(self._uses))

    async def _make_room(self, pack: Pack) -> None:
        """Evicts idle packs, the one not used for longest first; none where that would not be enough."""
        need = self._bytes(pack)
        idle = sorted((each for each in self._loaded.values() if not each.users), key=lambda each: each.used)
        if need > self._free_memory() + sum(each.bytes for each in idle):
            raise self._too_little(pack, need)
        if len(self._loaded) - len(idle) >= self._resident:
            raise WorkerBusy(f"{len(self._loaded)} packs are loaded and in use, the limit is {self._resident}")
        while len(self._loaded) >= self._resident or need > self._free_memory():
            # Looked at anew each time: closing an engine takes a while, and an idle pack may be in use by now.
            idle = sorted((each for each in self._loaded.values() if not each.users), key=lambda each: each.used)
            if not idle:
                raise self._too_little(pack, need)
            await self._drop(idle[0])

    def _too_little(self, pack: Pack, need: int) -> InsufficientMemory:
        free = self._free_memory() // MIB
        return InsufficientMemory(
            f"loading {pack.reference} takes about {need // MIB} MiB, {free} MiB are free; unload a pack first"
        )

    async def _drop(self, shelved: Shelved[S]) -> None:
        del self._loaded[shelved.pack.reference]
        log.info("%s: unloaded %s", self.stage, shelved.pack.reference)
        await asyncio.to_thread(_close, shelved.engine)

    def _bytes(self, pack: Pack) -> int:
        files = (path for path in self._folder(pack).rglob("*") if path.is_file())
        return int(MEMORY_FACTOR * sum(path.stat().st_size for path in files))


def free_memory() -> int:
    """Bytes that can be taken without swapping: the machine's, or what is left of this process's control group."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    group = Path("/sys/fs/cgroup")  # a container's own, as version 2 mounts it; elsewhere the root, which has no limit
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # version 1, or "max"
        return available
    return min(available, max(0, limit - used))


def _state(shelved: Shelved[Any]) -> dict[str, Any]:
    return {"id": shelved.pack.reference, "state": "loaded", "in_use": shelved.users, "bytes": shelved.bytes}


def _close(engine: object) -> None:
    if (close := getattr(engine, "close", None)) is not None:
        close()
