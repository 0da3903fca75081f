"""Tools such as a client may declare, with a request that fits each. Knows neither the service's tools nor a model."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from app.workers.base import Tool
from finetune.starter import words
from finetune.starter.domain_entities import Entities
from finetune.starter.words import number_words

VERBS: Final = (
    "order", "play", "send", "find", "open", "book", "start", "save", "show", "read", "add", "print", "check", "move",
    "lock", "delete", "buy", "update", "search", "record", "paint", "scan", "close", "share", "mark", "ship", "cook",
)  # fmt: skip
ARGUMENTS: Final = (
    "city", "name", "title", "count", "amount", "color", "room", "topic", "text", "level", "size", "place", "number",
    "label", "person", "query", "location", "item", "note", "price",
)  # fmt: skip
NUMERIC: Final = {"count", "amount", "level", "number", "price"}


@dataclass(frozen=True)
class ClientTool:
    """A declared tool, what a caller says to have it called, and the arguments then."""

    schema: Tool
    request: str
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The function's name."""
        name: str = self.schema["function"]["name"]
        return name


def client_tool(e: Entities) -> ClientTool:
    """A random tool of 0 to 2 arguments."""
    rng = e.rng
    if rng.random() < 0.1:
        return _renamed(e)
    verb, noun = rng.choice(VERBS), e.word().split()[0]
    asks = rng.random() < 0.3
    keys = rng.sample(ARGUMENTS, rng.choice((0, 1, 1, 1, 2)))
    if rng.random() < 0.15 and keys:
        keys[0] = e.word().split()[0]
    arguments, spoken = {}, {}
    for key in keys:
        arguments[key], spoken[key] = _value(key, e)
    if asks and keys:
        verb = "get"
        request = rng.choice(("what is the {n} {p} {v}", "tell me the {n} {p} {v}", "get the {n} {p} {v}")).format(
            n=noun, p=rng.choice(("of", "for", "in")), v=spoken[keys[0]]
        )
        rest = keys[1:]
    elif keys and rng.random() < 0.5:
        request = (
            rng.choice(("", "please ", "can you "))
            + f"{verb} {rng.choice(('the ', 'a ', ''))}{noun} "
            + (rng.choice(("for {v}", "to {v}", "called {v}", "{v}", "with {v}", "in {v}")).format(v=spoken[keys[0]]))
        )
        rest = keys[1:]
    else:
        request = rng.choice(("", "please ", "can you ")) + f"{verb} {rng.choice(('the ', 'a ', ''))}{noun}"
        rest = keys
    for index, key in enumerate(rest):
        request += f" {'with' if index == 0 else 'and'} {key} {spoken[key]}"
    name = rng.choice((f"{verb}_{noun}", f"{verb}_{noun}", f"{noun}_{verb}", verb + noun.capitalize()))
    about = rng.choice((f"{verb.capitalize()} the {noun}.", f"{verb.capitalize()} a {noun}", "", ""))
    if rng.random() < 0.15:
        name, about = e.word().replace(" ", "_"), f"{verb.capitalize()} the {noun}."
    return ClientTool(schema(name, about, {key: arguments[key] for key in keys}), request, arguments)


def schema(name: str, about: str, arguments: dict[str, Any]) -> Tool:
    """An OpenAI tool whose parameters have the types of the example arguments."""
    properties = {key: {"type": "integer" if isinstance(value, int) else "string"} for key, value in arguments.items()}
    parameters = {"type": "object", "properties": properties, "required": list(arguments)}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


def _renamed(e: Entities) -> ClientTool:
    """A tool by the name of one of the service's, with other parameters: the client's declaration counts."""
    city = e.city()
    key = e.rng.choice(("location", "place", "town", "where"))
    name, request = e.rng.choice((
        ("get_weather", f"what is the weather in {city}"), ("get_weather", f"how is the weather in {city}"),
        ("get_time", f"what time is it in {city}"), ("get_time", f"tell me the time in {city}"),
    ))  # fmt: skip
    return ClientTool(schema(name, "", {key: city}), request, {key: city})


def _value(key: str, e: Entities) -> tuple[str | int, str]:
    """A value as an argument, and as it is spoken."""
    if key in NUMERIC:
        number = e.number(0, 300)
        return number, number_words(number)
    if key in ("city", "place", "location"):
        city = e.city()
        return city, city
    if key in ("name", "person"):
        name = e.name()
        return name, name
    if key == "color":
        color = e.rng.choice(words.COLORS)
        return color, color
    text = " ".join(e.word() for _ in range(e.rng.choice((1, 1, 2, 3))))
    return text, text


def client_result(rng: random.Random, e: Entities) -> tuple[dict[str, Any] | str, str]:
    """What a client may send back, and the reply to it."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(({"status": "ok"}, {"ok": True}, {"success": True}, "ok", "done")), "Okay, that is done."
    text = " ".join(e.word() for _ in range(rng.randint(1, 4)))
    if kind < 0.45:
        return {"error": text}, f"Sorry, {text}."
    if kind < 0.6:
        return text, f"I got this: {text}."
    key = rng.choice((*ARGUMENTS, "result", "temperature", "status", "answer"))
    value: Any = e.number(0, 5000) if rng.random() < 0.4 else text
    return {key: value}, f"The {key} is {value}."
