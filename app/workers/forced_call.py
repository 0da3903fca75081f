"""A call that a model must make: the literals of the declared schema are written here, only values are the model's.

So name and JSON are valid whatever the model knows of the tool. Types, enumerations, required properties and lengths
are kept; patterns and formats are not looked at. Knows no engine: a `Writer` asks one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

MAX_DEPTH: Final = 8  # of objects and arrays; a schema that refers to itself has no end
MAX_PROPERTIES: Final = 64
MAX_ITEMS: Final = 16
_OPENINGS: Final = {"string": '"', "object": "{", "array": "[", "boolean": "true"}
_STRING_END: Final = re.compile(r'^(?P<body>(?:[^"\\]|\\.)*)"', re.DOTALL)
_NUMBER_END: Final = re.compile(r'^(?P<body>\s*"?[\d.eE+-]+)[^\d.eE+-]|^\s*"?[^\s\d.eE+"-]')
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


class Writer(Protocol):
    """The model, as far as a forced call needs it; `written` is the reply so far, which counts as its own words."""

    async def text(self, written: str, end: re.Pattern[str]) -> str:
        """What it writes next: the group `body` of `end`, or nothing, as soon as that matches; else all of it."""

    async def likeliest(self, written: str, choices: Sequence[str]) -> int:
        """Which of several continuations it finds likeliest."""


async def arguments(schema: Schema, writer: Writer, written: str) -> str:
    """JSON text of an object of the schema; `written` ends where it begins, without a space."""
    call = _Call(schema, writer, written)
    await call.object(schema, 0)
    return call.written[len(written) :].strip()


class _Call:
    """The call in the making. No literal ends with a space: tokenizers keep it with what follows."""

    def __init__(self, root: Schema, writer: Writer, written: str) -> None:
        self.written = written
        self._root = root
        self._writer = writer

    async def value(self, schema: Schema, depth: int) -> None:
        """One value, behind a colon, comma or bracket."""
        schema = self._resolved(schema)
        if "const" in schema or "enum" in schema:
            values = schema.get("enum") or [schema.get("const")]
            await self._choose([json.dumps(one, ensure_ascii=False) for one in values])
            return
        match _type_of(schema):
            case "object" if depth < MAX_DEPTH:
                await self.object(schema, depth)
            case "array" if depth < MAX_DEPTH:
                await self._array(schema, depth)
            case "string":
                await self._string(schema)
            case "integer" | "number" as kind:
                await self._number(schema, whole=kind == "integer")
            case "boolean":
                await self._choose(["true", "false"])
            case _:
                self.written += " null"

    async def object(self, schema: Schema, depth: int) -> None:
        """Its required properties, and of the others those that the model would write."""
        properties: Mapping[str, Any] = schema.get("properties") or {}
        declared = schema.get("required")
        required = [name for name in declared if isinstance(name, str)] if isinstance(declared, list) else []
        names = [*properties, *(name for name in required if name not in properties)][:MAX_PROPERTIES]
        self.written += " {"
        first = True
        for index, name in enumerate(names):
            key = ("" if first else ", ") + json.dumps(name, ensure_ascii=False) + ":"
            if name not in required:
                rest = [other for other in names[index + 1 :] if other in required]
                after = ("" if first else ", ") + json.dumps(rest[0], ensure_ascii=False) + ":" if rest else "}"
                if await self._writer.likeliest(self.written, [key, after]) == 1:
                    continue
            first = False
            self.written += key
            await self.value(_schema(properties.get(name)), depth + 1)
        self.written += "}"

    async def _array(self, schema: Schema, depth: int) -> None:
        least, most = _bounds(schema, "minItems", "maxItems", MAX_ITEMS)
        items = _schema(schema.get("items"))
        self.written += " ["
        for count in range(most):
            more = "," if count else _OPENINGS.get(_type_of(self._resolved(items)), "1")
            if count >= least and await self._writer.likeliest(self.written, ["]", more]) == 0:
                break
            self.written += "," if count else ""
            await self.value(items, depth + 1)
        self.written += "]"

    async def _string(self, schema: Schema) -> None:
        self.written += ' "'
        body = (await self._writer.text(self.written, _STRING_END)).lstrip(" ")  # some tokenizers begin words with one
        try:
            text = str(json.loads(f'"{body}"', strict=False))
        except ValueError:  # cut off within an escape
            text = body.replace("\\", "").replace('"', "")
        text = text.encode(errors="ignore").decode()  # half a character, which no UTF-8 can hold
        least, most = _bounds(schema, "minLength", "maxLength", len(text))
        self.written += json.dumps(text[:most].ljust(least), ensure_ascii=False)[1:]

    async def _number(self, schema: Schema, *, whole: bool) -> None:
        found = _NUMBER.search(await self._writer.text(self.written, _NUMBER_END))
        value = float(found.group()) if found else 0.0
        if value in (float("inf"), float("-inf")):
            value = 0.0
        low, high = schema.get("minimum"), schema.get("maximum")
        if isinstance(low, int | float):
            value = max(value, float(math.ceil(low) if whole else low))
        if isinstance(high, int | float):
            value = min(value, float(math.floor(high) if whole else high))
        self.written += f" {int(value) if whole or value.is_integer() else value}"

    async def _choose(self, choices: Sequence[str]) -> None:
        spaced = [f" {choice}" for choice in choices]
        self.written += spaced[await self._writer.likeliest(self.written, spaced) if len(spaced) > 1 else 0]

    def _resolved(self, schema: Schema) -> Schema:
        """The schema behind references, and the first alternative that is a value."""
        for _ in range(MAX_DEPTH):
            if isinstance(path := schema.get("$ref"), str):
                found: Any = self._root
                for step in path.removeprefix("#").strip("/").split("/"):
                    found = found.get(step) if isinstance(found, Mapping) else None
                schema = _schema(found)
                continue
            several = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
            if not isinstance(several, Sequence) or isinstance(several, str):
                return schema
            schema = next((one for one in map(_schema, several) if one.get("type") != "null"), {"type": "null"})
        return {"type": "null"}


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _schema(value: Any) -> Schema:
    return value if isinstance(value, Mapping) else {}


def _bounds(schema: Schema, low: str, high: str, most: int) -> tuple[int, int]:
    """At least and at most; what is declared, as far as it makes sense, within `most` where nothing asks for more."""
    least, limit = schema.get(low), schema.get(high)
    least = min(least, 1000) if isinstance(least, int) and least > 0 else 0
    limit = min(limit, max(most, least)) if isinstance(limit, int) and limit >= 0 else max(most, least)
    return min(least, limit), limit
