"""What the language model is asked when it is judged: kept-out sentences, with kept-out names, cities and numbers.

Knows no model. Every case ends with the caller's turn (or a tool's result) to which the model must answer.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from app.tools import Toolbox, schemas
from app.workers.base import Message, Tool
from finetune.starter import words
from finetune.starter.domain import Split, exchange, split_of
from finetune.starter.domain_entities import Entities
from finetune.starter.domain_outside import outside
from finetune.starter.domain_requests import REQUESTS, Exchange
from finetune.starter.domain_talk import ASSISTANT_QUESTIONS, CALLER_QUESTIONS, TALK, introduction, spelling
from finetune.starter.language_client_tools import client_tool
from finetune.starter.language_dialogues import PROMPT, TOOLS, Speaker, answered, noisy, reply_to_result, system_prompt
from finetune.starter.language_lexicon import lexicon
from finetune.starter.language_open_text import outside_requests

LEXICON_SHARE = 0.5


@dataclass(eq=False)  # a key by identity
class Case:
    """One question to the model and what counts as right."""

    messages: list[Message]
    tools: list[Tool] = field(default_factory=lambda: list(schemas(TOOLS)))
    tool: str = ""
    """Name of the call that is expected; empty for a reply in words."""
    arguments: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    """Values that have to be copied and that training never saw: kind (name, city, number) -> as it must appear."""
    reply: str = ""
    """Words that a reply must have."""


def tool_calls(split: Split, count: int, *, kept_out_share: float = 0.5, seed: int = 0) -> list[Case]:
    """Requests for the service's tools, behind up to two other turns."""
    e = _entities(split, kept_out_share, f"calls {seed}")
    cases = []
    for spoken in _of_split(split, e, lambda: _weighted(e, (*REQUESTS, (spelling, 4.0)))):
        arguments = spoken.arguments or {}
        values = {kind: value for key, value in arguments.items() if (kind := _unseen_kind(key, value))}
        if kept_out_share == 1 and not values:
            continue
        messages = [*_opening(e, split), {"role": "user", "content": noisy(spoken.user, e.rng)}]
        cases.append(Case(messages, tool=spoken.tool, arguments=arguments, values=values))
        if len(cases) == count:
            return cases
    return cases


def names(split: Split, count: int) -> list[Case]:
    """Introductions with kept-out names: the name must come back in the reply."""
    e = _entities(split, 1.0, "names")
    cases = []
    for spoken in _of_split(split, e, lambda: introduction(e)):
        if spoken.caller.lower() not in _seen():
            messages = [*_opening(e, split), {"role": "user", "content": spoken.user}]
            cases.append(Case(messages, values={"name": spoken.caller}, reply=spoken.caller))
        if len(cases) == count:
            return cases
    return cases


def recalls(split: Split, count: int) -> list[Case]:
    """The caller's kept-out name, asked for after 1 to 4 other turns."""
    e = _entities(split, 1.0, "recall")
    cases = []
    for spoken in _of_split(split, e, lambda: introduction(e)):
        if spoken.caller.lower() in _seen():
            continue
        speaker, box = Speaker(), _toolbox(e)
        messages = [{"role": "system", "content": PROMPT}, *answered(spoken, speaker, box, e.rng)]
        for _ in range(e.rng.randint(1, 4)):
            messages += answered(_other_turn(e, split), speaker, box, e.rng)
        messages.append({"role": "user", "content": e.rng.choice(CALLER_QUESTIONS)})
        cases.append(Case(messages, reply=spoken.caller))
        if len(cases) == count:
            return cases
    return cases


def assistant_names(split: Split, count: int) -> list[Case]:
    """The assistant's own kept-out name, as the client's instructions give it."""
    e = _entities(split, 1.0, "assistant")
    cases: list[Case] = []
    while len(cases) < count:
        prompt, name = system_prompt(e)
        if name != "Parley" and name.lower() not in _seen():
            question = e.rng.choice(ASSISTANT_QUESTIONS)
            messages: list[Message] = [{"role": "system", "content": prompt}, _user(question)]
            cases.append(Case(messages, reply=name))
    return cases


def outside_generated(split: Split, count: int) -> list[Case]:
    """Requests outside of the domain, of the generator."""
    e = _entities(split, 0.5, "outside")
    return _first(count, ([*_opening(e, split), _user(x.user)] for x in _of_split(split, e, lambda: outside(e))))


def outside_open(split: Split) -> list[Case]:
    """Requests of real people outside of the domain; none without PARLEY_DATA."""
    e = _entities(split, 0.0, "open")
    kept = [request for request in outside_requests() if split_of(request) == split]
    return _first(len(kept), ([*_opening(e, split), _user(request)] for request in kept))


def talk(split: Split, count: int) -> list[Case]:
    """Turns inside of the domain that need no tool: a refusal of these is a false one."""
    e = _entities(split, 0.0, "talk")
    spoken = (x for x in _of_split(split, e, lambda: _weighted(e, TALK)) if not x.tool)
    return _first(count, ([*_opening(e, split), _user(x.user)] for x in spoken))


def client_calls(split: Split, count: int) -> list[Case]:
    """Requests that fit one of up to three tools of a client, beside the service's own."""
    e = _entities(split, 0.5, "client")
    cases: list[Case] = []
    while len(cases) < count:
        offered = [client_tool(e) for _ in range(e.rng.randint(1, 3))]
        chosen = e.rng.choice(offered)
        if len({tool.name for tool in offered}) == len(offered):
            tools = [*schemas(TOOLS), *(tool.schema for tool in offered)]
            messages = [*_opening(e, split), _user(chosen.request)]
            cases.append(Case(messages, tools, tool=chosen.name, arguments=chosen.arguments))
    return cases


def spellings(split: Split, count: int) -> list[Case]:
    """Words to be spelled: the model calls the tool with the right word, and the service says its letters."""
    e = _entities(split, 0.5, "spelling")
    cases: list[Case] = []
    for spoken in _of_split(split, e, lambda: spelling(e)):
        messages: list[Message] = [{"role": "system", "content": PROMPT}, _user(spoken.user)]
        cases.append(Case(messages, tool=spoken.tool, arguments=spoken.arguments or {}))
        if len(cases) == count:
            break
    return cases


def tool_results(split: Split, count: int) -> list[Case]:
    """Results of the service's tools, to be said in words: every value of the result must be in the reply."""
    cases: list[Case] = []
    for case in tool_calls(split, 2 * count, seed=1):
        rng = random.Random(len(cases))
        result = Toolbox(TOOLS, lambda: _MOMENT).execute(case.tool, json.dumps(case.arguments)).content
        reply = reply_to_result(case.tool, case.arguments, json.loads(result), rng)
        shown = [str(value) for value in json.loads(result).values()]
        if case.tool in ("cancel_timer", "get_date"):
            shown = shown[-1:] if case.tool == "get_date" else []
        call = {"name": case.tool, "arguments": json.dumps(case.arguments)}
        answer: Message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "", "type": "function", "function": call}],
        }
        messages = [*case.messages, answer, {"role": "tool", "tool_call_id": "", "content": result}]
        cases.append(
            Case(messages, values={f"{n}": value for n, value in enumerate(shown) if value in reply}, reply=" ")
        )
        if len(cases) == count:
            break
    return cases


_MOMENT = datetime(2027, 3, 9, 17, 42, tzinfo=UTC)


def _entities(split: Split, kept_out_share: float, seed: str) -> Entities:
    return Entities(random.Random(f"{split} {seed}"), kept_out_share, lexicon(), LEXICON_SHARE)


def _weighted(e: Entities, topics: Sequence[tuple[Callable[[Entities], Exchange], float]]) -> Exchange:
    return e.rng.choices([topic for topic, _ in topics], [weight for _, weight in topics])[0](e)


def _of_split(split: Split, e: Entities, make: Callable[[], Exchange]) -> Iterator[Exchange]:
    """Different exchanges of a split, without end unless there are no more."""
    known: set[str] = set()
    for _ in range(400_000):
        spoken = make()
        if split_of(spoken.user) == split and spoken.user not in known:
            known.add(spoken.user)
            yield spoken


def _opening(e: Entities, split: Split) -> list[Message]:
    """The pack's instructions and none to two turns before the one that counts."""
    speaker, box = Speaker(), _toolbox(e)
    messages: list[Message] = [{"role": "system", "content": PROMPT}]
    for _ in range(e.rng.choice((0, 0, 1, 2))):
        messages += answered(_other_turn(e, split), speaker, box, e.rng)
    return messages


def _other_turn(e: Entities, split: Split) -> Exchange:
    while True:
        spoken = exchange(e)
        if (
            not spoken.caller
            and spoken.topic not in ("caller", "assistant")
            and split_of(spoken.user) in ("train", split)
        ):
            return spoken


def _toolbox(e: Entities) -> Toolbox:
    return Toolbox(TOOLS, lambda: _MOMENT)


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _first(count: int, conversations: Iterator[list[Message]]) -> list[Case]:
    return [Case(messages) for messages, _ in zip(conversations, range(count), strict=False)]


def _unseen_kind(key: str, value: Any) -> str:
    """`city` or `number` where training never saw the value; else empty."""
    if key == "city":
        return "city" if words.is_kept_out(value) and value not in _seen() else ""
    return "number" if any(words.is_kept_out(int(number)) for number in re.findall(r"\d+", str(value))) else ""


@cache
def _seen() -> frozenset[str]:
    """Words that training has read although they are kept out: in open requests and in entities of two words."""
    pairs = (part for entry in lexicon() if " " in entry for part in entry.split())
    requests = (word for request in outside_requests() if split_of(request) == "train" for word in request.split())
    return frozenset(pairs) | frozenset(requests)
