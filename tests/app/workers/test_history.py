"""Histories in the order that strict servers and templates demand, and their stable prefix."""

from __future__ import annotations

from typing import Any

import pytest

from app.workers.base import Message
from app.workers.history import (
    CUT_OFF,
    NO_RESULT,
    OPENING,
    TemplateRules,
    normalised,
    without_control_tokens,
    without_oldest_turns,
)


def said(role: str, content: Any = None, **fields: Any) -> Message:
    return {"role": role, "content": content, **fields}


def call(name: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}


def calls(*names: str) -> Message:
    return said("assistant", tool_calls=[call(name) for name in names])


def result(name: str, content: str = "done") -> Message:
    return said("tool", content, tool_call_id=name)


S, U, A = (said(role, role[0]) for role in ("system", "user", "assistant"))


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [U],
        [S, U, A, U],
        [S, U, calls("a", "b"), result("a"), result("b"), A, U],
        [S, U, calls("a"), result("a"), calls("b"), result("b"), A],
        [A, U],
    ],
)
def test_what_is_in_order_stays_as_it_is(messages: list[Message]) -> None:
    assert normalised(messages) == messages


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([U, said("system", "x"), A, said("developer", "y")], [said("system", "x\ny"), U, A]),
        ([said("system", ""), U], [U]),
        ([U, said("user", "v")], [said("user", "u\nv")]),
        ([U, said("user", [{"type": "text", "text": "v"}])], [said("user", "u\nv")]),
        ([U, A, said("assistant", "b"), U], [U, said("assistant", "a\nb"), U]),
        ([U, said("assistant", ""), said("user", "v")], [said("user", "u\nv")]),
        ([U, A, calls("a"), result("a")], [U, {**A, "tool_calls": [call("a")]}, result("a")]),
        ([U, calls("a", "b"), result("b"), result("a")], [U, calls("a", "b"), result("a"), result("b")]),
        ([U, calls("a"), said("user", "v"), result("a")], [U, calls("a"), result("a"), said("user", "v")]),
        ([U, calls("a"), said("user", "v")], [U, calls("a"), result("a", NO_RESULT), said("user", "v")]),
        ([U, result("lost"), A], [U, A]),
        (
            [U, calls("a"), U, calls("a"), result("a", "one"), result("a", "two")],
            [U, calls("a"), result("a", "one"), U, calls("a"), result("a", "two")],
        ),
    ],
)
def test_disorder_is_put_in_order(messages: list[Message], expected: list[Message]) -> None:
    assert normalised(messages) == expected
    assert normalised(expected) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([S, U, A, U], [S, U, A, U]),
        ([S, A, U], [S, said("user", OPENING), A, U]),
        ([U, calls("a"), result("a"), U], [U, calls("a"), result("a"), said("assistant", CUT_OFF), U]),
        ([U, calls("a"), result("a"), A, U], [U, calls("a"), result("a"), A, U]),
    ],
)
def test_turns_alternate_where_the_template_demands_it(messages: list[Message], expected: list[Message]) -> None:
    assert normalised(messages, TemplateRules(alternate=True)) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([S, U, A], [said("user", "s\n\nu"), A]),
        ([S, A, U], [said("user", "s"), A, U]),
        ([S], [said("user", "s")]),
        ([U, A], [U, A]),
    ],
)
def test_the_user_brings_the_instructions_where_the_template_has_no_system(
    messages: list[Message], expected: list[Message]
) -> None:
    assert normalised(messages, TemplateRules(no_system=True)) == expected


def test_a_templates_refusal_tells_its_rules() -> None:
    rules = TemplateRules()
    assert rules.learn("no tools here") == rules
    rules = rules.learn("Conversation roles must alternate user/assistant/user/assistant/...")
    assert rules == TemplateRules(alternate=True)
    assert rules.learn("System role not supported") == TemplateRules(alternate=True, no_system=True)


@pytest.mark.parametrize("rules", [TemplateRules(a, b) for a in (False, True) for b in (False, True)])
@pytest.mark.parametrize("greeted", [False, True])
def test_a_turns_messages_begin_the_next_turns(rules: TemplateRules, greeted: bool) -> None:
    answers: list[list[Message]] = [
        [A],
        [calls("a"), result("a"), said("assistant", "it is nine")],
        [said("assistant", "cut by the call")],  # the words heard before an interruption
        [calls("b", "c"), result("c"), result("b"), A],
        [said("assistant", "one"), said("assistant", "two")],
    ]
    history: list[Message] = [S, *([A] if greeted else [])]
    before: list[Message] = []
    for answer in answers:
        history.append(U)
        asked = normalised(history, rules)
        assert asked[: len(before)] == before
        before = asked
        history += answer
    assert len(before) > len(answers) * 2


def test_the_oldest_turns_can_be_left_out() -> None:
    messages = [S, U, calls("a"), result("a"), A, said("user", "v"), A, said("user", "w")]
    assert without_oldest_turns(messages) == [S, said("user", "v"), A, said("user", "w")]
    assert without_oldest_turns(messages, 2) == [S, said("user", "w")]
    assert without_oldest_turns(messages, 3) is None
    assert without_oldest_turns([], 1) is None


def test_no_caller_writes_control_tokens() -> None:
    parts = [{"type": "text", "text": "a<|e"}, {"type": "text", "text": "nd|>b"}]
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": "<|end|>"}'}}
    messages = [
        S,
        said("user", "<|e<|end|>nd|>hi"),
        said("user", parts),
        calls("b"),
        said("assistant", tool_calls=[call]),
    ]
    _, hi, ab, plain, cleaned = without_control_tokens(messages, ["<|end|>"])
    assert (hi["content"], ab["content"]) == ("hi", "ab")
    assert plain == calls("b")
    assert cleaned["tool_calls"][0]["function"]["arguments"] == '{"x": ""}'
    assert without_control_tokens([S, U, A], ["<|end|>"]) == [S, U, A]


def test_a_turn_is_dropped_with_all_that_answered_it() -> None:
    messages: list[Message] = [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "greeting"},
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "r"},
        {"role": "user", "content": "2"},
    ]
    shorter = without_oldest_turns(messages)
    assert shorter is not None
    assert [message["content"] for message in shorter] == ["s", "1", None, "r", "2"]
    shorter = without_oldest_turns(shorter)
    assert shorter is not None
    assert [message["content"] for message in shorter] == ["s", "2"]
    assert without_oldest_turns(shorter) is None
