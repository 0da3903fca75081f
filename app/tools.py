"""The service's own tools: their schemas and what they do. Knows no model, session or pack.

Results are short JSON objects, since the model reads them; what went wrong is {"error": CLAUSE}, to be spoken after
"Sorry,". Nothing that a model writes makes a tool raise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from app.calculator import evaluate
from app.cities import TIME_ZONES
from app.errors import PackError
from app.house import House
from app.workers.base import Tool

UNIT_SECONDS: Final = {"seconds": 1, "minutes": 60, "hours": 3600}
LONGEST_TIMER: Final = timedelta(hours=24)
MAX_TIMERS: Final = 20  # of one session
MAX_ARGUMENTS: Final = 2000  # characters
DAY_OFFSETS: Final = {"today": 0, "tomorrow": 1, "yesterday": -1}


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that a caller has set."""

    label: str
    """Its length in words, for instance `5 minutes`."""
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a tool."""

    content: str
    """JSON text for the model."""
    said: str = ""
    """The whole reply, where no model needs to phrase it: a small one loses its place in a row of letters."""


class ToolError(Exception):
    """A tool cannot do what it is asked; the message is a clause for the caller. Never leaves this module."""


def schemas(names: Iterable[str]) -> list[Tool]:
    """OpenAI function schemas of the named tools. Raises PackError for a name that is not in the service."""
    return [{"type": "function", "function": _function(name)} for name in names]


class Toolbox:
    """The tools of one session: its timers and its demonstration house."""

    def __init__(self, names: Iterable[str], now: Callable[[], datetime]) -> None:
        """`now` gives the caller's local time, with a time zone. Raises PackError for an unknown name."""
        self.names = tuple(names)
        for name in self.names:
            _function(name)
        self.timers: list[Timer] = []
        self._now = now
        self._house = House()

    def execute(self, name: str, arguments: str) -> Result:
        """The tool's result; {"error": ...} for whatever is wrong with name or arguments."""
        try:
            if name not in self.names:
                raise ToolError(f"there is no tool called {name}")
            result = self._run(name, _parsed(name, arguments))
        except ToolError as error:
            result = {"error": str(error)}
        said = f"{result['letters']}." if result.get("letters") else ""
        return Result(json.dumps(result, ensure_ascii=False), said)

    def due(self, now: datetime) -> list[Timer]:
        """Takes out the timers that have ended by `now`, the earliest first."""
        ended = sorted((timer for timer in self.timers if timer.ends_at <= now), key=lambda timer: timer.ends_at)
        self.timers = [timer for timer in self.timers if timer.ends_at > now]
        return ended

    def _run(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        match name:
            case "get_time":
                return self._time(given.get("city", ""))
            case "get_date":
                return self._date(given.get("day", ""))
            case "set_timer":
                return self._set_timer(given["amount"], given["unit"])
            case "check_timer":
                return self._check_timer()
            case "cancel_timer":
                return self._cancel_timer()
            case "calculate":
                try:
                    return {"result": evaluate(given["expression"])}
                except ValueError as error:
                    raise ToolError(str(error)) from None
            case "spell":
                return {"letters": ", ".join(given["word"].replace(" ", "").upper())}
            case "set_device":
                return self._device(given["device"], given.get("room", ""), given["state"])
            case "get_device":
                return self._device(given["device"], given.get("room", ""), "")
            case _:  # get_weather
                place = f" in {_titled(given['city'])}" if given.get("city") else ""
                raise ToolError(f"I am offline, so I do not know the weather{place}")

    def _time(self, city: str) -> dict[str, Any]:
        if not city:
            return {"time": clock(self._now())}
        zone = TIME_ZONES.get(city.lower())
        if zone is None:
            raise ToolError(f"I do not know the time in {_titled(city)}")
        return {"city": _titled(city), "time": clock(self._now().astimezone(ZoneInfo(zone)))}

    def _date(self, day: str) -> dict[str, Any]:
        if day and day not in DAY_OFFSETS:
            raise ToolError(f"I only know the date of {', '.join(DAY_OFFSETS)}")
        date = self._now() + timedelta(days=DAY_OFFSETS[day or "today"])
        written = f"{date:%A}, {date:%B} {date.day}, {date.year}"
        return {"day": day, "date": written} if day else {"date": written}

    def _set_timer(self, amount: int, unit: str) -> dict[str, Any]:
        if unit not in UNIT_SECONDS:
            raise ToolError(f"a timer takes {', '.join(UNIT_SECONDS)}")
        if not 0 < amount * UNIT_SECONDS[unit] <= LONGEST_TIMER.total_seconds():
            raise ToolError("a timer runs from 1 second to 24 hours")
        if len(self.timers) >= MAX_TIMERS:
            raise ToolError(f"there are {MAX_TIMERS} timers already")
        label = _counted(amount, unit)
        self.timers.append(Timer(label, self._now() + timedelta(seconds=amount * UNIT_SECONDS[unit])))
        return {"timer": label}

    def _check_timer(self) -> dict[str, Any]:
        if not self.timers:
            raise ToolError("there is no timer running")
        seconds = max(0, round((min(timer.ends_at for timer in self.timers) - self._now()).total_seconds()))
        hours, minutes = seconds // 3600, seconds // 60 % 60
        parts = [_counted(hours, "hours")] if hours else []
        parts += [_counted(minutes, "minutes")] if minutes else []
        if not hours and (seconds % 60 or not parts):
            parts.append(_counted(seconds % 60, "seconds"))
        return {"left": " and ".join(parts)}

    def _cancel_timer(self) -> dict[str, Any]:
        if not self.timers:
            raise ToolError("there is no timer running")
        cancelled = len(self.timers)
        self.timers = []
        return {"cancelled": cancelled}

    def _device(self, device: str, room: str, state: str) -> dict[str, Any]:
        """Sets a state, or gives it where `state` is empty; without a room, in all that have the device."""
        rooms = self._house.rooms_with(device.lower())
        if not rooms:
            raise ToolError(f"there is no {device} in the house")
        if room and room.lower() not in rooms:
            raise ToolError(f"there is no {device} in the {room}")
        wanted = (room.lower(),) if room else rooms
        if state:
            for place in wanted:
                self._house.set(device.lower(), place, state)
        else:
            states = [self._house.get(device.lower(), place) for place in wanted]
            state = next((found for found in states if found != "off"), "off")
        place_named = {"room": room} if room else {}
        return {"device": device, **place_named, "state": state}


def clock(time: datetime) -> str:
    """The time of day as it is written in replies: 3:25 PM."""
    return f"{time.hour % 12 or 12}:{time.minute:02} {'AM' if time.hour < 12 else 'PM'}"


def _counted(amount: int, unit: str) -> str:
    return f"{amount} {unit.removesuffix('s') if amount == 1 else unit}"


def _titled(words: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in words.split())


# Tool -> what it does, its parameters (name -> JSON type and what it is), and those that must be given.
_TOOLS: Final[dict[str, tuple[str, dict[str, tuple[str, str]], tuple[str, ...]]]] = {
    "get_time": ("Current time, here or in a city.", {"city": ("string", "City; leave out for here.")}, ()),
    "get_date": ("Date and weekday.", {"day": ("string", "today, tomorrow or yesterday.")}, ()),
    "set_timer": (
        "Start a timer.",
        {"amount": ("integer", "How many units."), "unit": ("string", "seconds, minutes or hours.")},
        ("amount", "unit"),
    ),
    "check_timer": ("Time left on the next timer.", {}, ()),
    "cancel_timer": ("Cancel all timers.", {}, ()),
    "calculate": ("Arithmetic.", {"expression": ("string", "Numbers with + - * / and parentheses.")}, ("expression",)),
    "spell": ("Letters of a word.", {"word": ("string", "Word.")}, ("word",)),
    "set_device": (
        "Switch or set a device in the house.",
        {
            "device": ("string", "Device."),
            "room": ("string", "Room; leave out for all."),
            "state": ("string", "on, off, a percentage or degrees."),
        },
        ("device", "state"),
    ),
    "get_device": (
        "State of a device.",
        {"device": ("string", "Device."), "room": ("string", "Room; leave out for all.")},
        ("device",),
    ),
    "get_weather": ("Weather, here or in a city.", {"city": ("string", "City; leave out for here.")}, ()),
}


def _function(name: str) -> dict[str, Any]:
    if name not in _TOOLS:
        raise PackError(f"no tool {name!r} in the service, expected one of {', '.join(_TOOLS)}")
    description, parameters, required = _TOOLS[name]
    properties = {key: {"type": kind, "description": about} for key, (kind, about) in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"name": name, "description": description, "parameters": schema}


def _parsed(name: str, arguments: str) -> dict[str, Any]:
    """The arguments, each known and of its type. Raises ToolError."""
    if len(arguments) > MAX_ARGUMENTS:
        raise ToolError(f"the arguments of {name} are too long")
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        raise ToolError(f"the arguments of {name} are not JSON") from None
    if not isinstance(given, dict):
        raise ToolError(f"the arguments of {name} are not an object")
    _, parameters, required = _TOOLS[name]
    for key in required:
        if key not in given:
            raise ToolError(f"{name} needs {key}")
    for key, value in given.items():
        if key not in parameters:
            raise ToolError(f"{name} does not take {key}")
        kind = parameters[key][0]
        if type(value) is not (int if kind == "integer" else str):
            raise ToolError(f"{key} of {name} must be {'a whole number' if kind == 'integer' else 'text'}")
    return given
