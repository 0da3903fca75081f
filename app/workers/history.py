"""Chat histories in the order that strict servers and chat templates demand. Sans-I/O; knows no server and no model.

Many templates raise on a system message in the middle, on two turns of one role in a row, or on a tool's result away
from its call. A caller who interrupts, or a client that edits its conversation, produces all of them.

The messages of a turn stay a prefix of the next turn's, wherever the conversation only grew by an answer and a new
question: then the server finds the whole earlier prompt in its KV cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.workers.base import Message

NO_RESULT: Final = "no result yet"
"""Stands for the result of a call that nobody has answered: servers refuse a call without one."""
OPENING: Final = "Hello."
"""Stands for a caller's first turn before an assistant's, where a template demands that the caller begins."""
CUT_OFF: Final = "..."
"""Stands for an assistant's turn that never came, between a tool's result and the caller's next words."""


@dataclass(frozen=True, slots=True)
class TemplateRules:
    """What a model's chat template demands beyond good order."""

    alternate: bool = False
    """A user's turn first, then assistant and user strictly in turns; calls and results are the assistant's."""
    no_system: bool = False
    """No system message: instructions stand before the first user's words."""

    def learn(self, refusal: str) -> TemplateRules:
        """The rules, with the one that a template's refusal tells; the same rules where it tells none."""
        # "Conversation roles must alternate user/assistant/..." (Llama 2, Mistral, Gemma), "System role not supported"
        # (Gemma): Hugging Face templates raise in these words, and servers pass them on.
        words = refusal.lower()
        return TemplateRules(
            self.alternate or "must alternate" in words, self.no_system or "system role not supported" in words
        )


def normalised(messages: Iterable[Message], rules: TemplateRules | None = None) -> list[Message]:
    """One system message first, roles never twice in a row, each call followed by its results, in the calls' order.

    And what the template's rules demand. What is in order already comes back as it was.
    """
    rules = rules or TemplateRules()
    system: list[str] = []
    turns: list[Message] = []
    results: dict[str, list[Message]] = {}  # several of one id, where a server numbers the calls of each reply anew
    for message in messages:
        role = message.get("role")
        if role in ("system", "developer"):
            system.append(_text(message.get("content")))
        elif role == "tool":
            results.setdefault(str(message.get("tool_call_id")), []).append(message)
        elif _says_something(message):
            turns.append(message)
    merged = _answered(_merged(turns), results)
    head: list[Message] = []
    if instructions := "\n".join(filter(None, system)):
        if rules.no_system:
            merged = _told_by_the_user(instructions, merged)
        else:
            head = [{"role": "system", "content": instructions}]
    return [*head, *(_alternating(merged) if rules.alternate else merged)]


def without_oldest_turns(messages: Sequence[Message], count: int = 1) -> list[Message] | None:
    """The messages without the first turns: a user's words and all that answered them, or what came before them.

    None where no turn would be left.
    """
    kept = 1 if messages and is_system(messages[0]) else 0
    later = [index for index, message in enumerate(messages) if index > kept and message.get("role") == "user"]
    return [*messages[:kept], *messages[later[count - 1] :]] if count <= len(later) else None


def without_control_tokens(messages: Iterable[Message], tokens: Sequence[str]) -> list[Message]:
    """The messages without a model's control tokens: written by a caller, they would end a turn and begin another."""
    cleaned: list[Message] = []
    for message in messages:
        plain: dict[str, Any] = dict(message)
        if message.get("content") is not None:
            plain["content"] = _without(_text(message["content"]), tokens)
        if calls := message.get("tool_calls"):
            plain["tool_calls"] = [
                {**call, "function": {name: _without(value, tokens) for name, value in call["function"].items()}}
                for call in calls
            ]
        cleaned.append(plain)
    return cleaned


def is_system(message: Message) -> bool:
    """Whether a message holds instructions."""
    return message.get("role") in ("system", "developer")


def _without(text: str, tokens: Sequence[str]) -> str:
    while any(token in text for token in tokens):  # taking one out may put another together
        for token in tokens:
            text = text.replace(token, "")
    return text


def _says_something(message: Message) -> bool:
    """False for an assistant's turn of which the caller heard nothing."""
    return message.get("role") != "assistant" or bool(message.get("content") or message.get("tool_calls"))


def _merged(turns: Iterable[Message]) -> list[Message]:
    """Neighbours of one role as one message. Words after calls stay apart: the results come between them."""
    merged: list[Message] = []
    for turn in turns:
        last = merged[-1] if merged else {}
        if last.get("role") != turn.get("role") or last.get("tool_calls"):
            merged.append(turn)
            continue
        texts = [text for text in (_text(last.get("content")), _text(turn.get("content"))) if text]
        joined: dict[str, Any] = {**last, "content": "\n".join(texts) or None}
        if calls := turn.get("tool_calls"):
            joined["tool_calls"] = calls
        merged[-1] = joined
    return merged


def _answered(turns: Iterable[Message], results: Mapping[str, list[Message]]) -> list[Message]:
    """Behind each turn with calls their results; results of calls that nobody made are left out."""
    answered: list[Message] = []
    for turn in turns:
        answered.append(turn)
        for call in turn.get("tool_calls") or ():
            given = results.get(str(call["id"]))
            nothing = {"role": "tool", "tool_call_id": call["id"], "content": NO_RESULT}
            answered.append(given.pop(0) if given else nothing)
    return answered


def _alternating(turns: Iterable[Message]) -> list[Message]:
    """User first, and an assistant's words between a tool's result and the user's next turn."""
    ordered: list[Message] = []
    for turn in turns:
        before = ordered[-1]["role"] if ordered else None
        if before is None and turn["role"] == "assistant":
            ordered.append({"role": "user", "content": OPENING})
        elif before == "tool" and turn["role"] == "user":
            ordered.append({"role": "assistant", "content": CUT_OFF})
        ordered.append(turn)
    return ordered


def _told_by_the_user(instructions: str, turns: Sequence[Message]) -> list[Message]:
    """The instructions before the first user's words; a turn of their own where an assistant begins."""
    if turns and turns[0]["role"] == "user":
        return [{**turns[0], "content": f"{instructions}\n\n{_text(turns[0].get('content'))}"}, *turns[1:]]
    return [{"role": "user", "content": instructions}, *turns]


def _text(content: Any) -> str:
    """The words of a message's content: a string, or OpenAI's list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content if isinstance(part, Mapping))
