"""Items, prompts made of them, and truncation to the words heard."""

from __future__ import annotations

from typing import Any

import pytest

from app.conversation import MAX_ITEMS, Conversation, Item, words_heard
from app.errors import BadRequest


def message(role: str, text: str, **more: Any) -> dict[str, Any]:
    """A client's item."""
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}], **more}


def spoken(transcript: str, marks: list[tuple[int, float]], audio_ms: int) -> Item:
    """An assistant's audio item."""
    part = {"type": "output_audio", "transcript": transcript}
    return Item("item_a", "message", role="assistant", content=[part], marks=marks, audio_ms=audio_ms)


def test_items_go_where_the_client_says() -> None:
    conversation = Conversation()
    conversation.create(message("user", "two", id="two"), None)
    conversation.create(message("user", "one", id="one"), "root")
    conversation.create(message("user", "between", id="between"), "one")
    assert [item.id for item in conversation] == ["one", "between", "two"]
    assert conversation.previous_id(conversation.get("one", "retrieve")) is None
    assert conversation.previous_id(conversation.get("two", "retrieve")) == "between"


def test_a_refused_item_changes_nothing() -> None:
    conversation = Conversation()
    conversation.create(message("user", "one", id="one"), None)
    for item, after in [
        (message("user", "again", id="one"), None),
        (message("user", "lost"), "nobody"),
        ({"type": "function_call_output", "call_id": "x", "output": ""}, None),
        ({"type": "picture"}, None),
        (message("user", "x", id="y" * 200), None),
    ]:
        with pytest.raises(BadRequest):
            conversation.create(item, after)
    assert [item.id for item in conversation] == ["one"]


def test_a_conversation_is_bounded() -> None:
    conversation = Conversation()
    for _ in range(MAX_ITEMS):
        conversation.create(message("user", "flood"), None)
    with pytest.raises(BadRequest, match="the limit is 2000"):
        conversation.create(message("user", "flood"), None)


def test_prompts_have_one_system_message_in_front() -> None:
    conversation = Conversation()
    conversation.create(message("user", "hello"), None)
    conversation.create(message("system", "Be kind."), None)
    conversation.create(message("assistant", "Hi."), None)
    assert conversation.messages("Be brief.") == [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hi."},
    ]


def test_the_callers_words_are_put_into_the_models_form_and_nobody_elses() -> None:
    conversation = Conversation()
    conversation.create(message("user", "Hello"), None)
    conversation.create(message("assistant", "Hi"), None)
    assert [m["content"] for m in conversation.messages("", str.lower)] == ["hello", "Hi"]


def test_calls_and_outputs_are_paired_for_the_model() -> None:
    conversation = Conversation()
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    conversation.create(call, None)
    conversation.create({"type": "function_call_output", "call_id": "c1", "output": "42"}, None)
    asked, answered = conversation.messages("")
    assert asked["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert answered == {"role": "tool", "tool_call_id": "c1", "content": "42"}


def test_hidden_calls_come_before_the_answer_that_they_led_to() -> None:
    conversation = Conversation()
    answer = spoken("It is four.", [], 0)
    answer.hidden = [{"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "4:00"}]
    conversation.append(answer)
    assert [m["role"] for m in conversation.messages("")] == ["assistant", "tool", "assistant"]
    assert "hidden" not in answer.dump()


@pytest.mark.parametrize(
    ("heard_ms", "words"),
    [
        (0, ""),
        (99, ""),
        (100, "One"),
        (250, "One two"),
        (299, "One two"),
        (300, "One two three."),
        (9000, "One two three."),
    ],
)
def test_only_whole_words_that_were_spoken_count_as_heard(heard_ms: int, words: str) -> None:
    marks = [(3, 100.0), (7, 200.0), (14, 300.0)]
    assert words_heard("One two three.", marks, heard_ms) == words


def test_a_mark_inside_a_word_does_not_count_it() -> None:
    assert words_heard("One twothree", [(3, 100.0), (7, 200.0)], 200) == "One"


def test_truncating_twice_never_gives_words_back() -> None:
    conversation = Conversation()
    conversation.append(spoken("One two three.", [(3, 100.0), (7, 200.0), (14, 300.0)], 300))
    assert conversation.truncate("item_a", 0, 210).text == "One two"
    with pytest.raises(BadRequest, match="Audio content of 210ms is already shorter than 1000ms"):
        conversation.truncate("item_a", 0, 1000)
    assert conversation.truncate("item_a", 0, 100).text == "One"


def test_only_an_assistants_audio_can_be_truncated() -> None:
    conversation = Conversation()
    conversation.create(message("user", "hello", id="u"), None)
    conversation.create(message("assistant", "hello", id="a"), None)
    for item, index in [("u", 0), ("a", 0), ("a", 1), ("nobody", 0)]:
        with pytest.raises(BadRequest):
            conversation.truncate(item, index, 0)


@pytest.mark.parametrize(
    ("heard_ms", "words"), [(100, "Well,"), (200, "Well, it's"), (300, "Well, it's"), (400, "Well, it's half-past...")]
)
def test_signs_at_the_end_of_a_word_belong_to_it_and_those_within_do_not_end_it(heard_ms: int, words: str) -> None:
    marks = [(4, 100.0), (10, 200.0), (15, 300.0), (20, 400.0)]
    assert words_heard("Well, it's half-past... ten", marks, heard_ms) == words
