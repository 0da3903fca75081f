"""models/registry.toml, read strictly: which models can be fetched, under which licence, and what makes a profile.

Opens no connection; `app/models.py` fetches.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from app.errors import SettingsError

STAGES = ("recognizer", "language", "voice")


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the hub, at one revision of it."""

    name: str
    stage: str
    """recognizer, language or voice: the sub-folder of a pack."""
    licence: str
    """SPDX expression."""
    megabytes: int
    """Size of the download, as the hub states it."""
    repository: str = ""
    """OWNER/NAME on the hub; empty where `shipped`."""
    revision: str = ""
    """Full commit hash."""
    files: Mapping[str, str] | None = None
    """Path in the repository to SHA-256; an empty one is recorded at the first download."""
    shipped: str = ""
    """Folder beside the registry from which it is copied instead."""
    convert: str = ""
    """What makes a usable model of the checkpoint; empty where it is usable as it is."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Models that are used together."""

    name: str
    about: str
    models: tuple[Model, ...]
    pack: str = ""
    """Name of the pack that they make; empty where they make none."""

    @property
    def megabytes(self) -> int:
        """Size of everything that is downloaded."""
        return sum(model.megabytes for model in self.models if not model.shipped)

    @property
    def licences(self) -> tuple[str, ...]:
        """Each licence once, in order."""
        return tuple(dict.fromkeys(model.licence for model in self.models))


def read_registry(path: Path) -> dict[str, Profile]:
    """The profiles by name. Raises SettingsError naming the entry and what was expected."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"there is no model registry {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    if unknown := sorted(set(tables) - {"models", "profiles"}):
        raise SettingsError(f"{path}: unknown tables {unknown}, expected models and profiles")
    models = {
        name: _model(name, values, f"{path}: [models.{name}]") for name, values in tables.get("models", {}).items()
    }
    return {
        name: _profile(name, values, models, f"{path}: [profiles.{name}]")
        for name, values in tables.get("profiles", {}).items()
    }


def _model(name: str, values: Mapping[str, Any], where: str) -> Model:
    kinds = {"stage": str, "licence": str, "megabytes": int, "repository": str, "revision": str}
    model = Model(name, **_checked(values, kinds | {"files": dict, "shipped": str, "convert": str}, where))
    if model.stage not in STAGES:
        raise SettingsError(f"{where} stage must be one of {', '.join(STAGES)}, got {model.stage!r}")
    if bool(model.shipped) == bool(model.repository):
        raise SettingsError(f"{where} needs either repository or shipped")
    if model.repository and (len(model.revision) != 40 or not model.files):
        raise SettingsError(f"{where} needs a revision of 40 digits and files, got {model.revision!r}")
    for file, sha256 in (model.files or {}).items():
        if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise SettingsError(f"{where} files: {file} lies outside of the model's folder")
        if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
            raise SettingsError(f"{where} files: {file} needs a SHA-256 of 64 digits or none, got {sha256!r}")
    return model


def _profile(name: str, values: Mapping[str, Any], models: Mapping[str, Model], where: str) -> Profile:
    filled = _checked(values, {"about": str, "models": list, "pack": str}, where)
    if unknown := sorted(set(filled["models"]) - set(models)):
        raise SettingsError(f"{where} names unknown models {unknown}; known are {sorted(models)}")
    return Profile(name, filled["about"], tuple(models[one] for one in filled["models"]), filled.get("pack", ""))


def _checked(values: Mapping[str, Any], kinds: Mapping[str, type], where: str) -> dict[str, Any]:
    if unknown := sorted(set(values) - set(kinds)):
        raise SettingsError(f"{where} has unknown keys {unknown}; known are {sorted(kinds)}")
    for key, value in values.items():
        if type(value) is not kinds[key]:
            raise SettingsError(f"{where} {key} must be {kinds[key].__name__}, got {value!r}")
    required = {"about", "models"} if "about" in kinds else {"stage", "licence", "megabytes"}
    if missing := sorted(required - set(values)):
        raise SettingsError(f"{where} lacks {missing}")
    return dict(values)
