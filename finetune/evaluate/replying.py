"""What a language model replies in each dialogue, given what the recognizer heard of the caller. Knows no audio.

Every assistant turn is asked for with the true turns before it; only the words that the caller has just spoken are
those that the recognizer heard, where a clip of the same text was evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from app.errors import BadRequest
from app.packs import Pack
from app.spoken_any import spoken_form
from app.tools import schemas
from app.workers.base import ChatRequest, LanguageModel, Message, TextDelta, ToolCall
from finetune.data.kept import Kept
from finetune.data.rows import Dialogue, Turn
from finetune.data.texts import text_key
from finetune.evaluate.identity import key


@runtime_checkable
class Scoring(Protocol):
    """A language model that can tell how likely a reply is to it."""

    async def log_probability(self, request: ChatRequest, reply: str) -> tuple[float, int]:
        """Natural logarithm of the reply's probability, and its tokens. Raises BadRequest."""


@dataclass(frozen=True, slots=True)
class Replied:
    """One assistant turn: what should have been said and called, and what was."""

    dialogue: str
    language: str
    """BCP 47, of the dialogue."""
    said: str
    """The caller's words, as the model got them."""
    served: bool
    """Whether they are a transcript; else they were typed."""
    gold: str
    gold_calls: tuple[str, ...]
    text: str
    calls: tuple[str, ...]
    nats: float | None
    """Negative log-likelihood of `gold`; None where the engine cannot tell, or nothing should have been said."""
    tokens: int
    """Of `gold`."""

    @property
    def exact(self) -> bool:
        """Whether exactly the right tools were called with exactly the right arguments."""
        return sorted(self.calls) == sorted(self.gold_calls)


async def reply(
    model: LanguageModel, pack: Pack, dialogues: Sequence[Dialogue], served: Mapping[str, str], kept: Kept, stage: str
) -> list[Replied]:
    """A reply for each assistant turn. `served`: transcript by the `text_key` of what was said."""
    asked = [
        (dialogue, number)
        for dialogue in dialogues
        for number, turn in enumerate(dialogue.turns)
        if turn.role == "assistant"
    ]
    replied = []
    for dialogue, number in tqdm(asked, desc=f"{pack.reference} replies", unit=" turns", disable=None):
        gold = dialogue.turns[number]
        before = list(dialogue.turns[:number])
        last = before[-1] if before and before[-1].role == "user" else None
        transcript = served.get(text_key(last.text)) if last is not None else None
        request = _request(pack, dialogue, before, transcript)
        known = key("replied", stage, json.dumps([request.messages, request.tools, gold.text], sort_keys=True))
        found = kept.get(known)
        if found is None:
            found = await _reply(model, request, gold.text)
            kept.put(known, found)
        said = transcript if transcript is not None else last.text if last is not None else ""
        replied.append(
            Replied(
                dialogue=dialogue.id, language=dialogue.language, said=said, served=transcript is not None,
                gold=gold.text, gold_calls=tuple(canonical(call) for call in gold.tool_calls), text=found["text"],
                calls=tuple(found["calls"]), nats=found["nats"], tokens=found["tokens"],
            )
        )  # fmt: skip
    return replied


def canonical(call: Mapping[str, Any]) -> str:
    """A call's name and arguments, so that equal ones are equal texts; arguments that are no JSON stay as they are."""
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return f"{function['name']} {arguments}"
    return f"{function['name']} {json.dumps(arguments, sort_keys=True, ensure_ascii=False)}"


def _request(pack: Pack, dialogue: Dialogue, before: Sequence[Turn], transcript: str | None) -> ChatRequest:
    """As a session asks: the pack's prompt where the dialogue has none, its own tools and the dialogue's."""
    messages: list[Message] = []
    if not any(turn.role == "system" for turn in before) and pack.language_model.prompt:
        messages.append({"role": "system", "content": pack.language_model.prompt})
    for place, turn in enumerate(before):
        is_last = place == len(before) - 1
        messages.append(_message(turn, pack, transcript if is_last else None))
    theirs = {tool["function"]["name"] for tool in dialogue.tools}
    own = [name for name in pack.language_model.tools if name not in theirs]
    return ChatRequest(messages, tools=[*schemas(own), *dialogue.tools], temperature=0.0)


def _message(turn: Turn, pack: Pack, transcript: str | None) -> Message:
    if turn.role == "tool":
        return {"role": "tool", "tool_call_id": turn.tool_call_id, "content": turn.text}
    if turn.tool_calls:
        return {"role": "assistant", "content": turn.text or None, "tool_calls": list(turn.tool_calls)}
    if turn.role == "user":
        typed = spoken_form(turn.text, pack.language) if pack.language_model.spoken_input else turn.text
        return {"role": "user", "content": typed if transcript is None else transcript}
    return {"role": turn.role, "content": turn.text}


async def _reply(model: LanguageModel, request: ChatRequest, gold: str) -> dict[str, Any]:
    text, calls = "", []
    async for part in model.reply(request):
        if isinstance(part, TextDelta):
            text += part.text
        elif isinstance(part, ToolCall):
            calls.append(canonical({"function": {"name": part.name, "arguments": part.arguments}}))
    nats, tokens = None, 0
    if gold and isinstance(model, Scoring):
        try:
            logarithm, tokens = await model.log_probability(request, gold)
            nats = -logarithm
        except BadRequest:  # prompt and gold reply do not fit the context together
            nats = None
    return {"text": text, "calls": calls, "nats": nats, "tokens": tokens}
