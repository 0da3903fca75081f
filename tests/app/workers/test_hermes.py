"""Tool calls out of a stream: any cut of the text gives the same parts, and no piece of a tag is ever said."""

from __future__ import annotations

import json
import random

import pytest

from app.workers.hermes import HermesParser, ParsedCall, loads_object, parsed

WRITTEN = (
    "Let me see. <tool_call>\n"
    '{"name": "get_time", "arguments": {"city": "oslo"}}\n</tool_call>'
    '<tool_call>{"name": "set_timer", "arguments": {"amount": 5, "unit": "minutes"}}</tool_call> Done < 5.'
)


def parse(pieces: list[str]) -> tuple[str, list[ParsedCall]]:
    """All text and all calls of the pieces."""
    parser = HermesParser()
    parts = [part for piece in pieces for part in parser.feed(piece)] + parser.finish()
    text = "".join(part for part in parts if isinstance(part, str))
    return text, [part for part in parts if isinstance(part, ParsedCall)]


def test_text_and_calls_are_told_apart() -> None:
    text, calls = parse([WRITTEN])
    assert text == "Let me see.  Done < 5."
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("get_time", {"city": "oslo"}),
        ("set_timer", {"amount": 5, "unit": "minutes"}),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_gives_the_same(seed: int) -> None:
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(1, len(WRITTEN)), rng.randint(1, 60)))
    pieces = [WRITTEN[a:b] for a, b in zip([0, *cuts], [*cuts, len(WRITTEN)], strict=True)]
    assert parse(pieces) == parse([WRITTEN])


def test_text_before_a_call_streams_and_no_fragment_of_a_tag_leaks() -> None:
    parser = HermesParser()
    said = ""
    for character in "Yes <b> <tool_cat <tool_call>":
        said += "".join(part for part in parser.feed(character) if isinstance(part, str))
    assert said == "Yes <b> <tool_cat "
    assert parser.finish() == []


@pytest.mark.parametrize("tail", ["<", "<tool", "<tool_call"])
def test_half_a_tag_at_the_end_is_dropped(tail: str) -> None:
    assert parse(["Hello. ", tail])[0] == "Hello. "


def test_a_call_without_its_end_is_repaired() -> None:
    text, calls = parse(['<tool_call>{"name": "set_device", "arguments": {"device": "lamp", "room": "kit'])
    assert text == ""
    assert calls == [ParsedCall("set_device", '{"device": "lamp", "room": "kit"}')]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{"a": 1', {"a": 1}),
        ('{"a": "b", ', {"a": "b"}),
        ('{"a": [1, {"b": "c"', {"a": [1, {"b": "c"}]}),
        ('{"a": 1, "b', {"a": 1, "b": None}),
        ('{"a": 1, "b":', {"a": 1, "b": None}),
        ('{"a": "}"} and more', {"a": "}"}),
        ("[1]", {}),
        ("no json", {}),
        ("", {}),
    ],
)
def test_objects_are_closed_where_they_were_cut(written: str, expected: dict[str, object]) -> None:
    assert loads_object(written) == expected


def test_arguments_may_be_a_string_of_json_and_are_always_an_object() -> None:
    assert parsed('{"name": "x", "arguments": "{\\"a\\": 1}"}') == ParsedCall("x", '{"a": 1}')
    assert parsed('{"name": 5, "arguments": [1]}') == ParsedCall("", "{}")


def test_a_call_that_never_ends_does_not_grow_without_bound() -> None:
    parser = HermesParser()
    parser.feed("<tool_call>")
    for _ in range(100):
        assert parser.feed("x" * 1000) == []
    assert parser.finish() == [ParsedCall("", "{}")]
