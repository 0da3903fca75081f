"""Shelves of scripted engines, on packs whose weights are zeros."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from app.catalogue import Catalogue
from app.packs import Pack, find_pack
from app.workers.base import Recognizer
from app.workers.scripted import ScriptedRecognizer
from app.workers.shelf import Shelf

WEIGHTS = 1000  # bytes of each pack


class Closing(ScriptedRecognizer):
    """A recognizer that hears its pack's reference, and knows whether it was closed."""

    def __init__(self, pack: Pack) -> None:
        super().__init__([pack.reference], repeat=True)
        self.closed = False

    def close(self) -> None:
        """Notes it."""
        self.closed = True


@dataclass
class Memory:
    """What the shelf under test believes to be free."""

    free: int = 1_000_000
    built: list[str] = field(default_factory=list)


def packs_in(root: Path) -> Catalogue:
    """a (version 1, and 2 beside it), b, c; each with WEIGHTS bytes of weights."""
    for folder, version in (("a", "1"), ("a@2", "2"), ("b", "1"), ("c", "1")):
        weights = root / folder / "recognizer"
        weights.mkdir(parents=True)
        (weights / "model.bin").write_bytes(bytes(WEIGHTS))
        head = f'format = 1\nname = "{folder[0]}"\nversion = "{version}"\nlanguage = "en"\n'
        (root / folder / "pack.toml").write_text(f"[pack]\n{head}")
    return Catalogue(find_pack(root, "a"), root)


def shelf_of(packs: Catalogue, memory: Memory, *, resident: int = 2) -> Shelf[Recognizer]:
    """Of recognizers, the default one loaded; `memory` notes what is built."""

    def build(pack: Pack) -> Closing:
        memory.built.append(pack.reference)
        return Closing(pack)

    shelf: Shelf[Recognizer] = Shelf(
        "recognizer",
        packs,
        build,
        lambda pack: pack.recognizer_folder,
        resident=resident,
        free_memory=lambda: memory.free,
    )
    shelf.load_default()
    return shelf


async def heard(recognizer: Recognizer, model: str) -> str:
    """What an utterance with this model is heard as: its pack's reference."""
    return (await (await recognizer.start(model=model)).finish()).text
