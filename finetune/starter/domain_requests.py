"""Requests that the service's tools answer: what a caller says and the call that fits. Knows no tool's result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from app.house import DEVICES, ROOMS
from finetune.starter import words
from finetune.starter.domain_entities import Entities
from finetune.starter.words import number_words


@dataclass(frozen=True)
class Exchange:
    """One turn of a caller and what has to come of it."""

    user: str
    """Spoken form: lower case, no punctuation, numbers in words."""
    reply: str = ""
    """Written English; empty where the reply depends on a tool's result."""
    tool: str = ""
    arguments: dict[str, Any] | None = None
    caller: str = ""
    """The name by which the caller has introduced himself in this turn."""
    topic: str = ""


POLITE: Final = ("", "", "", "", "please ", "can you ", "could you ", "hey ", "would you please ", "i want you to ")
ENDINGS: Final = ("", "", "", "", "", " please", " now", " for me", " thanks")


def time(e: Entities) -> Exchange:
    """The time, here or in a city."""
    choose = e.rng.choice
    if e.rng.random() < 0.6:
        city = e.city()
        user = choose((
            f"what time is it in {city}", f"tell me the time in {city}", f"what is the current time in {city}",
            f"do you know the time in {city}", f"what's the time in {city}", f"what time is it now in {city}",
            f"how late is it in {city}", f"and in {city} what time is it", f"give me the time in {city} please",
            f"what hour is it in {city} right now", f"i need the time in {city}",
        ))  # fmt: skip
        return Exchange(user, tool="get_time", arguments={"city": city})
    user = choose(POLITE) + choose(("tell me the time", "give me the time", "say what time it is"))
    if e.rng.random() < 0.7:
        user = choose((
            "what time is it", "what's the time", "what time is it now", "do you know what time it is",
            "what is the current time", "how late is it", "what is the time right now", "what's the time please",
            "excuse me what time is it", "do you have the time", "i need to know the time", "what time do we have",
        ))  # fmt: skip
    return Exchange(user, tool="get_time", arguments={})


def date(e: Entities) -> Exchange:
    """The date or weekday of today, tomorrow or yesterday."""
    choose = e.rng.choice
    if e.rng.random() < 0.35:
        day = choose(("tomorrow", "yesterday"))
        verb = "is" if day == "tomorrow" else "was"
        user = choose((
            f"what day {verb} {day}", f"what is the date {day}", f"which day {verb} it {day}",
            f"what date {verb} {day}",
            f"tell me the date of {day}", f"{day} {verb} what day", f"what weekday {verb} {day}",
        ))  # fmt: skip
        return Exchange(user, tool="get_date", arguments={"day": day})
    user = choose((
        "what is the date today", "what day is it today", "what's today's date", "which day is it", "what is the date",
        "tell me the date", "what day of the week is it", "what month is it", "what is today's date please",
        "can you tell me the date", "what day is it", "what's the date", "which day is today", "what year is it",
        "give me the date of today", "do you know what day it is", "what date do we have today",
    ))  # fmt: skip
    return Exchange(user, tool="get_date", arguments={})


def timer(e: Entities) -> Exchange:
    """Setting, asking for and cancelling timers."""
    choose = e.rng.choice
    kind = e.rng.random()
    if kind < 0.12:
        user = choose((
            "cancel the timer", "stop the timer", "cancel my timer", "cancel all timers", "stop the countdown",
            "turn off the timer", "delete the timer", "please cancel the timer", "i do not need the timer anymore",
            "forget the timer", "remove the timer please", "can you stop the timer",
        ))  # fmt: skip
        return Exchange(user, tool="cancel_timer", arguments={})
    if kind < 0.24:
        user = choose((
            "how much time is left", "how long is left on the timer", "is the timer still running",
            "how much time is left on my timer", "check the timer", "when does the timer end", "how is my timer doing",
            "what timers are running", "how many minutes are left", "do i have a timer running",
        ))  # fmt: skip
        return Exchange(user, tool="check_timer", arguments={})
    unit, high = choose((("minutes", 90), ("minutes", 90), ("seconds", 99), ("hours", 24)))
    amount = e.number(1, high)
    one = amount == 1
    spoken = ("an" if unit == "hours" else "a") if one and e.rng.random() < 0.5 else number_words(amount)
    length = f"{spoken} {unit.removesuffix('s') if one else unit}"
    adjective = f"{number_words(amount)} {unit.removesuffix('s')}"
    user = choose(POLITE) + choose((
        f"set a timer for {length}", f"start a timer for {length}", f"set a {adjective} timer",
        f"start a {adjective} countdown", f"wake me up in {length}", f"make a timer for {length}",
        f"set the timer to {length}", f"give me a timer of {length}", f"remind me in {length}",
        f"count down {length}", f"set timer {length}", f"start a {adjective} timer", f"tell me when {length} are over",
    )) + choose(ENDINGS)  # fmt: skip
    return Exchange(user, tool="set_timer", arguments={"amount": amount, "unit": unit})


def arithmetic(e: Entities) -> Exchange:
    """Sums, differences, products and quotients of whole numbers."""
    choose = e.rng.choice
    word, sign = choose((("plus", "+"), ("plus", "+"), ("minus", "-"), ("times", "*"), ("divided by", "/")))
    high = choose((20, 100, 100, 100, 1000))
    left, right = e.number(0, high), e.number(0, high)
    if sign == "*":
        left, right = e.number(0, min(high, 100)), e.number(0, 30)
        word = choose(("times", "times", "multiplied by"))
    if sign == "/":
        right = e.number(1, 12)
        left = right * e.rng.randint(1, 12) if e.rng.random() < 0.6 else e.number(1, 100)
    if sign == "-" and right > left and e.rng.random() < 0.8:
        left, right = right, left
    user = choose((
        "what is ", "how much is ", "calculate ", "compute ", "what's ", "tell me what is ", "can you calculate ",
        "and ",
        "", "please calculate ", "what do you get for ", "what does it make ", "i need to know ", "work out ",
    )) + f"{number_words(left)} {word} {number_words(right)}"  # fmt: skip
    return Exchange(user, tool="calculate", arguments={"expression": f"{left} {sign} {right}"})


def device(e: Entities) -> Exchange:
    """Lights and devices: switch, set, ask."""
    choose = e.rng.choice
    thing, room = choose(DEVICES), choose(ROOMS)
    where = e.rng.random() < 0.65
    arguments: dict[str, Any] = {"device": thing, "room": room} if where else {"device": thing}
    kind = e.rng.random()
    if kind < 0.12:
        verb = "are" if thing == "lights" else "is"
        place = f" in the {room}" if where else ""
        user = choose((
            f"{verb} the {thing}{place} on", f"{verb} the {thing} on{place}", f"did i leave the {thing} on{place}",
            f"check the {thing}{place}", f"what about the {thing}{place} {verb} it on",
        ))  # fmt: skip
        return Exchange(user, tool="get_device", arguments=arguments)
    if kind < 0.24:
        thing = choose(("light", "lights", "lamp"))
        arguments["device"] = thing
        level = e.number(1, 100)
        place, prefix = (f" in the {room}", f"{room} ") if where else ("", "")
        user = choose(POLITE) + choose((
            f"dim the {prefix}{thing} to {number_words(level)} percent",
            f"set the {thing}{place} to {number_words(level)} percent",
            f"set the {prefix}{thing} to {number_words(level)} percent",
            f"make the {thing}{place} {number_words(level)} percent bright",
        ))  # fmt: skip
        return Exchange(user, tool="set_device", arguments={**arguments, "state": f"{level}%"})
    if kind < 0.34:
        arguments["device"] = "heating"
        level = e.number(12, 30)
        place = f" in the {room}" if where else ""
        user = choose(POLITE) + choose((
            f"set the heating{place} to {number_words(level)} degrees",
            f"set the heating{place} to {number_words(level)}",
            f"turn the heating{place} to {number_words(level)} degrees",
            f"put the heating{place} at {number_words(level)} degrees",
        ))  # fmt: skip
        return Exchange(user, tool="set_device", arguments={**arguments, "state": f"{level} degrees"})
    state = choose(("on", "off"))
    sentences = [f"turn {state} the {thing}", f"switch the {thing} {state}", f"turn the {thing} {state}"]
    if where:
        sentences = [
            f"turn {state} the {thing} in the {room}", f"turn the {room} {thing} {state}",
            f"{thing} {state} in the {room}",
            f"switch {state} the {room} {thing}", f"switch the {thing} in the {room} {state}",
            f"turn {state} the {room} {thing}", f"put the {thing} {state} in the {room}",
            f"in the {room} turn {state} the {thing}",
        ]  # fmt: skip
    user = choose(POLITE) + choose(sentences) + choose(ENDINGS)
    return Exchange(user, tool="set_device", arguments={**arguments, "state": state})


def weather(e: Entities) -> Exchange:
    """Weather, with or without a city; the tool says that it is offline."""
    choose = e.rng.choice
    day = choose(
        ("", "", " today", " tomorrow", f" on {choose(words.DAYS)}", " this weekend", " tonight", " right now")
    )
    if e.rng.random() < 0.6:
        city = e.city()
        user = choose((
            f"what is the weather in {city}{day}", f"what's the weather like in {city}{day}",
            f"how is the weather in {city}{day}", f"is it going to rain in {city}{day}", f"how cold is it in {city}",
            f"will it be sunny in {city}{day}", f"what is the temperature in {city}", f"does it snow in {city}{day}",
            f"tell me the weather in {city}{day}", f"do i need an umbrella in {city}{day}",
            f"is it warm in {city}{day}",
            f"weather in {city}{day} please", f"give me the forecast for {city}{day}",
        ))  # fmt: skip
        return Exchange(user, tool="get_weather", arguments={"city": city})
    user = choose((
        f"what is the weather{day}", f"what's the weather like{day}", f"how is the weather{day}", f"will it rain{day}",
        f"do i need an umbrella{day}", f"is it going to snow{day}", f"will it be warm{day}", "how cold is it outside",
        f"tell me the weather{day}", f"is it raining{day}", f"how warm will it be{day}",
        f"weather forecast{day} please",
    ))  # fmt: skip
    return Exchange(user, tool="get_weather", arguments={})


REQUESTS: Final[tuple[tuple[Callable[[Entities], Exchange], float], ...]] = (
    (time, 8),
    (date, 4),
    (timer, 12),
    (arithmetic, 12),
    (device, 15),
    (weather, 9),
)
"""Topic and its weight."""
