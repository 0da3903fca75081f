"""Whole dialogues for training: persona, turns, tool calls with the service's real results. Knows no tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from app.tools import Toolbox, schemas
from app.workers.base import Message, Tool
from finetune.starter.domain import exchange, split_of
from finetune.starter.domain_entities import Entities
from finetune.starter.domain_outside import REFUSALS
from finetune.starter.domain_requests import Exchange
from finetune.starter.domain_talk import ASSISTANT_QUESTIONS, CALLER_QUESTIONS, echo, introduction, titled
from finetune.starter.language_client_tools import client_result, client_tool

TOOLS: Final = (
    "get_time", "get_date", "set_timer", "check_timer", "cancel_timer", "calculate", "spell", "set_device",
    "get_device", "get_weather",
)  # fmt: skip
"""The tools that the model is taught; the pack's manifest names the same."""
PROMPT: Final = "You are Parley, a friendly voice assistant."
"""The pack's own instructions."""
ASSISTANT_NAME: Final = "Parley"
NO_NAME: Final = "I do not know your name yet. What is it?"
NO_TOOLS: Final = "Sorry, I have no tools for that here."
NOISE_SHARE: Final = 0.12
OPEN_TEXT_SHARE: Final = 0.06
GREETED_SHARE: Final = 0.15
_SMALL_WORDS: Final = frozenset(
    "the a an is in of to for it what's can you please me my tell do i and that's am are".split()  # noqa: SIM905
)


@dataclass
class Dialogue:
    """Messages in the form of OpenAI chat, and the tools declared."""

    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)


@dataclass
class Speaker:
    """What has been said so far and matters later."""

    assistant: str = ASSISTANT_NAME
    caller: str = ""


def system_prompt(e: Entities) -> tuple[str, str]:
    """Instructions and the assistant's name in them; either the pack's own, or such as clients write."""
    rng = e.rng
    if rng.random() < 0.4:
        return PROMPT, ASSISTANT_NAME
    name = titled(e.name()) if rng.random() < 0.7 else ""
    role = rng.choice(_ADJECTIVES) + " " + rng.choice(_ROLES)
    article = "an" if role[0] in "aeiou" else "a"
    if name:
        first = rng.choice((
            f"You are {name}, {article} {role}.", f"Your name is {name}.", f"You are {article} {role} called {name}.",
            f"You are {article} {role}. Your name is {name}.", f"Act as {name}, {article} {role}.",
            f"you are {name}", f"You are {name}.",
        ))  # fmt: skip
    else:
        first = rng.choice((f"You are {article} {role}.", f"Act as {article} {role}.", "", ""))
    more = rng.sample(_INSTRUCTIONS, rng.choice((0, 0, 1, 1, 2, 3, 5)))
    filled = [text.format(city=titled(e.city()), word=e.word(), number=e.rng.randint(2, 90)) for text in more]
    parts = [first, *filled]
    if len(parts) > 2 and rng.random() < 0.3:
        parts = [*parts[1:], first]
    return " ".join(part for part in parts if part), name or ASSISTANT_NAME


def dialogue(e: Entities, *, turns: int, echoes: float = 0.05, outside: Sequence[str] = ()) -> Dialogue:
    """A dialogue of training turns.

    `echoes` is the share of turns in which the caller has words repeated; `outside` holds further requests that the
    starter cannot serve.
    """
    rng = e.rng
    prompt, assistant = system_prompt(e)
    speaker = Speaker(assistant)
    result = Dialogue([{"role": "system", "content": prompt}] if prompt and rng.random() < 0.95 else [])
    if not result.messages:
        speaker.assistant = ASSISTANT_NAME
    if rng.random() < GREETED_SHARE:
        result.messages.append(
            {"role": "assistant", "content": f"Hello, I am {speaker.assistant}. How can I help you?"}
        )
    offered = [client_tool(e) for _ in range(rng.randint(1, 4))] if rng.random() < 0.2 else []
    taught = rng.random() < (0.6 if offered else 0.95)
    result.tools = (schemas(TOOLS) if taught else []) + [tool.schema for tool in offered]
    toolbox = Toolbox(TOOLS, lambda: moment)
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(15 * 365 * 24 * 60))
    for turn in range(turns):
        moment += timedelta(seconds=rng.randint(5, 100))
        if offered and rng.random() < 0.6:
            chosen = rng.choice(offered)
            result.messages += [
                {"role": "user", "content": noisy(chosen.request, rng)},
                call(chosen.name, chosen.arguments),
            ]
            content, reply = client_result(rng, e)
            result.messages.append(tool_message(content if isinstance(content, str) else json.dumps(content)))
            result.messages.append({"role": "assistant", "content": reply})
            continue
        spoken = _training_exchange(e, speaker, first=turn == 0, echoes=echoes, outside=outside)
        result.messages += answered(spoken, speaker, toolbox if taught else None, rng)
    return result


def answered(spoken: Exchange, speaker: Speaker, toolbox: Toolbox | None, rng: random.Random) -> list[Message]:
    """The messages of one turn; without a toolbox the model has no tools and says so."""
    speaker.caller = spoken.caller or speaker.caller
    messages: list[Message] = [{"role": "user", "content": noisy(spoken.user, rng)}]
    if not spoken.tool:
        return [*messages, {"role": "assistant", "content": reply_to(spoken, speaker, rng)}]
    if toolbox is None:
        return [*messages, {"role": "assistant", "content": NO_TOOLS}]
    given = spoken.arguments or {}
    result = toolbox.execute(spoken.tool, json.dumps(given)).content
    return [
        *messages,
        call(spoken.tool, given),
        tool_message(result),
        {"role": "assistant", "content": reply_to_result(spoken.tool, given, json.loads(result), rng)},
    ]


def reply_to(spoken: Exchange, speaker: Speaker, rng: random.Random) -> str:
    """The reply where no tool is needed."""
    if spoken.topic == "caller":
        if not speaker.caller:
            return NO_NAME
        return rng.choice((f"Your name is {speaker.caller}.", f"You are {speaker.caller}."))
    if spoken.topic == "assistant":
        return rng.choice((f"My name is {speaker.assistant}.", f"I am {speaker.assistant}, your voice assistant."))
    return spoken.reply


def reply_to_result(tool: str, arguments: dict[str, Any], result: dict[str, Any], rng: random.Random) -> str:
    """The reply once a tool of the service has answered."""
    choose = rng.choice
    if "error" in result:
        return f"Sorry, {result['error']}."
    match tool:
        case "get_time":
            place = f" in {result['city']}" if "city" in result else ""
            return choose((f"It is {result['time']}{place}.", f"The time{place} is {result['time']}."))
        case "get_date":
            day = arguments.get("day", "today")
            return f"{titled(day)} {'was' if day == 'yesterday' else 'is'} {result['date']}."
        case "set_timer":
            return choose(
                (f"Okay, your timer is set for {result['timer']}.", f"Okay, {result['timer']}, starting now.")
            )
        case "check_timer":
            return f"The time left is {result['left']}."
        case "cancel_timer":
            count = result["cancelled"]
            return "Okay, the timer is cancelled." if count == 1 else f"Okay, {count} timers are cancelled."
        case "spell":
            return f"{result['letters']}."
        case "calculate":
            return choose((f"That is {result['result']}.", f"The answer is {result['result']}."))
    place = f" in the {result['room']}" if "room" in result else ""
    verb = "are" if result["device"] == "lights" else "is"
    if tool == "get_device":
        return f"The {result['device']}{place} {verb} {result['state']}."
    if result["state"] in ("on", "off"):
        return choose((f"Okay, the {result['device']}{place} {verb} {result['state']}.",
                       f"Okay, {result['device']} {result['state']}{place}."))  # fmt: skip
    return f"Okay, the {result['device']}{place} {verb} at {result['state']}."


def call(name: str, arguments: dict[str, Any]) -> Message:
    """An assistant's message with one tool call."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "", "type": "function", "function": function}]}


def tool_message(content: str) -> Message:
    """A tool's answer."""
    return {"role": "tool", "tool_call_id": "", "content": content}


def noisy(user: str, rng: random.Random) -> str:
    """Some turns with a word as a recognizer gets it wrong; only small words, so that the meaning stays."""
    heard = user.split()
    small = [index for index, word in enumerate(heard) if word in _SMALL_WORDS]
    if len(heard) < 4 or not small or rng.random() >= NOISE_SHARE:
        return user
    index, kind = rng.choice(small), rng.random()
    if kind < 0.5:
        heard.pop(index)
    elif kind < 0.75:
        heard[index] = rng.choice(("the", "a", "to", "and", "is", "it", "um", "in"))
    else:
        heard.insert(index, rng.choice(("um", "uh", "the", "well", "so", "a")))
    return " ".join(heard)


def _training_exchange(
    e: Entities, speaker: Speaker, *, first: bool, echoes: float, outside: Sequence[str]
) -> Exchange:
    while True:
        if outside and e.rng.random() < OPEN_TEXT_SHARE:
            return Exchange(e.rng.choice(outside), e.rng.choice(REFUSALS), topic="outside")
        chance = e.rng.random()
        if chance < echoes:
            spoken = echo(e)
        elif chance < echoes + (0.3 if first else 0.05):
            spoken = introduction(e)
        elif speaker.caller and chance < echoes + 0.26:
            spoken = Exchange(e.rng.choice(CALLER_QUESTIONS), topic="caller")
        elif speaker.assistant != ASSISTANT_NAME and chance > 0.9:
            spoken = Exchange(e.rng.choice(ASSISTANT_QUESTIONS), topic="assistant")
        else:
            spoken = exchange(e)
        if split_of(spoken.user) == "train":
            return spoken


_ADJECTIVES: Final = (
    "friendly",
    "helpful",
    "polite",
    "calm",
    "funny",
    "patient",
    "kind",
    "smart",
    "cheerful",
    "honest",
)
_ROLES: Final = (
    "voice assistant", "assistant", "helper at home", "guide", "robot", "companion", "teacher", "agent",
    "receptionist", "kitchen helper", "phone operator", "assistant for older people", "museum guide",
)  # fmt: skip
_INSTRUCTIONS: Final = (
    "Answer in short sentences.", "Be brief.", "Keep your answers short and clear.", "Always be polite.",
    "Speak slowly.", "Never use bad words.", "You live in {city}.", "The caller lives in {city}.",
    "You work in a shop in {city}.", "You like the {word}.", "Do not talk about the {word}.", "Use simple words.",
    "Your replies are spoken aloud, so do not use lists.", "If you do not know something, say so.",
    "Today the office in {city} is closed.", "The house has {number} rooms.", "Use the tools when they fit.",
    "You may call a tool before you answer.", "Answer in English.", "The conversation is recorded.",
    "Help the caller with everyday questions.", "Respond with at most {number} words.", "Do not make things up.",
    "Your knowledge ends with the {word}.", "Only answer what was asked.", "Be warm and friendly.",
)  # fmt: skip
