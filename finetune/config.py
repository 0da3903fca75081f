"""A recipe's configuration: strict YAML and `key=value` overrides into frozen dataclasses. Knows no recipe.

A key that nobody reads is an error, since a misspelt one would silently train something else.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from finetune.errors import ConfigError

Config = TypeVar("Config")


def load(kind: type[Config], path: Path, overrides: Sequence[str] = ()) -> Config:
    """The file, changed by overrides such as `training.steps=100`, as a `kind`. Raises ConfigError naming the key."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: got {type(values).__name__}, expected keys and values")
    for override in overrides:
        _set(values, override)
    return fill(kind, values, str(path))


def fill(kind: type[Config], values: Mapping[str, Any], where: str, above: str = "") -> Config:
    """A dataclass from keys and values; `above` stands before the keys in messages. Raises ConfigError.

    Of a union of dataclasses, whose `engine` is a Literal in each, the one of the `engine` in the values.
    """
    kind = _one_of(kind, values, where, above)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1, cutoff=0.0)
            raise ConfigError(f"{where}: unknown key {above}{name}; the nearest known one is {above}{near[0]}")
    filled = {}
    for name, field in fields.items():
        if name in values:
            filled[name] = _typed(values[name], hints[name], where, above + name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: key {above}{name} is missing")
    try:
        return kind(**filled)
    except ValueError as error:
        raise ConfigError(f"{where}: {above}{error}") from error


def plain(config: Any) -> dict[str, Any]:
    """All keys with their values, defaults included, as YAML and JSON hold them."""
    values: dict[str, Any] = _plain(dataclasses.asdict(config))
    return values


def text(config: Any) -> str:
    """`plain` as YAML, which `load` reads again."""
    return str(yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=120))


def changed(old: Mapping[str, Any], new: Mapping[str, Any], above: str = "") -> list[str]:
    """Where two plain configurations differ, as `key: old -> new`."""
    found = []
    for name in [*old, *(name for name in new if name not in old)]:
        one, other = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += changed(one, other, f"{above}{name}.")
        elif one != other:
            found.append(f"{above}{name}: {one!r} -> {other!r}")
    return found


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which a key may stand only once; PyYAML would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _one_of(kind: Any, values: Mapping[str, Any], where: str, above: str) -> Any:
    if not isinstance(kind, UnionType):
        return kind
    engines = {name: one for one in get_args(kind) for name in get_args(get_type_hints(one)["engine"])}
    if (engine := values.get("engine")) not in engines:
        raise ConfigError(f"{where}: {above}engine: got {engine!r}, expected one of {', '.join(engines)}")
    return engines[engine]


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"got {override!r}, expected key=value, for instance training.steps=100")
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{override}: {section} holds a value, expected keys below it")
    try:
        values[name] = yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{override}: the value is not YAML: {error}") from error


def _typed(value: Any, hint: Any, where: str, key: str) -> Any:
    one_of = isinstance(hint, UnionType) and NoneType not in get_args(hint)
    if one_of or dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: {key}: got {value!r}, expected keys below it")
        return fill(hint, value, where, f"{key}.")
    if isinstance(hint, UnionType):  # `X | None`
        return None if value is None else _typed(value, get_args(hint)[0], where, key)
    if get_origin(hint) is tuple:
        if isinstance(value, list):
            return tuple(_typed(item, get_args(hint)[0], where, f"{key}[{i}]") for i, item in enumerate(value))
    elif get_origin(hint) is dict:
        if isinstance(value, dict):
            return {name: _typed(item, get_args(hint)[1], where, f"{key}.{name}") for name, item in value.items()}
        raise ConfigError(f"{where}: {key}: got {value!r}, expected keys below it")
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise ConfigError(f"{where}: {key}: got {value!r}, expected one of {', '.join(map(str, get_args(hint)))}")
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        try:  # YAML 1.1 takes 1e-4, without a point, for text
            return float(value) if isinstance(value, str) else _refuse(value, hint, where, key)
        except ValueError:
            pass
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    return _refuse(value, hint, where, key)


def _refuse(value: Any, hint: Any, where: str, key: str) -> Any:
    expected = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(hint, "a list")
    quoted = "; YAML reads yes, no, on and off as true or false unless quoted" if isinstance(value, bool) else ""
    raise ConfigError(f"{where}: {key}: got {value!r}, expected {expected}{quoted}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
