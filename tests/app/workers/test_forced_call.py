"""Forced calls: whatever the model writes and whatever the schema declares, the arguments are JSON that fits it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workers.forced_call import MAX_ITEMS, arguments

HEAD = '<tool_call>{"name": "f", "arguments":'


class Babbler:
    """A model that writes anything, and ends where it is told to or not at all."""

    def __init__(self, seed: int, texts: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._texts = texts
        self.seen: list[str] = []

    async def text(self, written: str, end: re.Pattern[str]) -> str:
        self.seen.append(written)
        text = self._random.choice(self._texts)
        found = end.match(text)
        return (found["body"] or "") if found else text

    async def likeliest(self, written: str, choices: Sequence[str]) -> int:
        self.seen.append(written)
        assert not written.endswith(" ")
        return self._random.randrange(len(choices))


NONSENSE = ["", '"', 'oslo"}', ' 12, "', "-3.5}", "a\\", 'a\\"b"', "\n\x00", "\ud800", "1e999}", "{[", "ж" * 50]
NAMES = st.text(min_size=1, max_size=6)
LEAVES = st.one_of(
    st.sampled_from([{}, {"type": "string"}, {"type": "boolean"}, {"type": "null"}, {"type": ["null", "integer"]}]),
    st.builds(lambda values: {"enum": values}, st.lists(st.one_of(st.none(), st.integers(), NAMES), min_size=1)),
    st.builds(lambda value: {"const": value}, st.one_of(st.booleans(), NAMES)),
    st.builds(lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
              st.integers(0, 5), st.integers(0, 5)),
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
              st.integers(-50, 50), st.integers(0, 50)),
    st.builds(lambda low: {"type": "number", "minimum": low}, st.integers(-50, 50)),
)  # fmt: skip


def _object(properties: dict[str, Any], required: bool) -> dict[str, Any]:
    return {"type": "object", "properties": properties} | ({"required": list(properties)[:2]} if required else {})


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(_object, st.dictionaries(NAMES, inner, max_size=3), st.booleans()),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 2)),
        st.builds(lambda one: {"anyOf": [{"type": "null"}, one]}, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(st.dictionaries(NAMES, SCHEMAS, max_size=4), st.booleans(), st.integers(0, 1000))
async def test_arguments_fit_any_schema(properties: dict[str, Any], required: bool, seed: int) -> None:
    schema = _object(properties, required)
    written = json.loads(await arguments(schema, Babbler(seed, NONSENSE), HEAD))
    jsonschema.validate(written, schema)


async def test_what_the_model_writes_is_kept() -> None:
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["city", "days"]}
    writer = Babbler(0, ['oslo", "days": 3}'])
    assert await arguments(schema, writer, HEAD) == '{"city": "oslo", "days": 0}'
    assert writer.seen == [f'{HEAD} {{"city": "', f'{HEAD} {{"city": "oslo", "days":']
    assert await arguments(schema, Babbler(0, [' 3, "city": "']), HEAD) == '{"city": "3, ", "days": 3}'


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": None}, {"required": 5}])
async def test_a_schema_without_properties_gives_an_empty_object(schema: dict[str, Any]) -> None:
    assert await arguments(schema, Babbler(0, NONSENSE), HEAD) == "{}"


async def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/node"}},
        "required": ["a"],
        "$defs": {"node": node},
    }
    assert json.loads(await arguments(schema, Babbler(0, NONSENSE), HEAD))["a"]["next"]
    loop = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}
    written = await arguments({**loop, "$defs": {"a": {"$ref": "#/$defs/a"}}}, Babbler(0, NONSENSE), HEAD)
    assert json.loads(written) == {"a": None}


async def test_a_list_without_an_end_is_ended() -> None:
    class Endless(Babbler):
        async def likeliest(self, written: str, choices: Sequence[str]) -> int:
            return len(choices) - 1

    schema = {"properties": {"a": {"type": "array"}}, "required": ["a"]}
    assert len(json.loads(await arguments(schema, Endless(0, ["x"]), HEAD))["a"]) == MAX_ITEMS
