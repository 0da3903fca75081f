"""Which pack a session or request means: by name, by version, or by the alias of a stock client. Knows no engine."""

from __future__ import annotations

from pathlib import Path

from app.errors import ParleyError, UnknownModel
from app.names import Served, is_alias, unknown
from app.packs import MANIFEST, Pack, find_pack, pack_names, read_pack


class Catalogue:
    """The packs that a gateway serves; satisfies `Models`. Looks at the folder anew for every session and request."""

    def __init__(self, default: Pack, folder: Path | None = None, *, name: str = "") -> None:
        """`default` is meant where no pack is named; of `folder`, others can be. None: there are no others.

        `name`, as the operator wrote it, decides whether a new current version of the default is taken: NAME@VERSION
        stays what it is.
        """
        self._default = default
        self._folder = folder
        self._name = name or default.name
        self._read: dict[Path, tuple[int, Pack]] = {}

    def find(self, model: str) -> Pack:
        """The pack that `model` means. Raises UnknownModel naming what there is, PackError for a broken one."""
        name = self._name if is_alias(model) else model
        if self._folder is None:
            if name not in (self._default.name, self._default.reference):
                raise unknown(model, self.names())
            return self._default
        try:
            return find_pack(self._folder, name, self._once)
        except UnknownModel:
            raise unknown(model, self.names()) from None

    def served(self, model: str) -> Served:
        """The same, as the stages are told."""
        pack = self.find(model)
        return Served(pack.reference, pack.voice.names, pack.language_model.base_hash)

    def names(self) -> list[str]:
        """Every name that a session can ask for."""
        return [self._default.name] if self._folder is None else pack_names(self._folder)

    def about(self, name: str) -> dict[str, object]:
        """What callers choose it by; nothing of a pack that cannot be read, which a session would be told."""
        try:
            return described(self.find(name))
        except ParleyError:
            return {}

    def _once(self, folder: Path) -> Pack:
        """The pack, read again only where its manifest has changed: reading takes milliseconds of the event loop."""
        changed = (folder / MANIFEST).stat().st_mtime_ns
        if folder not in self._read or self._read[folder][0] != changed:
            self._read[folder] = (changed, read_pack(folder))
        return self._read[folder][1]


def described(pack: Pack) -> dict[str, object]:
    """What a page shows of a pack."""
    return {
        "language": pack.language,
        "version": pack.version,
        "description": pack.description,
        "knows": pack.knows,
        "examples": list(pack.examples),
        "greeting": pack.greeting,
        "voices": list(pack.voice.names),
    }
