"""The service's own tools: what they answer, and that nothing a model writes makes them raise."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app import REPOSITORY
from app.errors import PackError
from app.packs import find_pack
from app.tools import MAX_TIMERS, Toolbox, schemas

NAMES = find_pack(REPOSITORY / "models" / "packs", "en-starter").language_model.tools
START = datetime(2026, 11, 21, 15, 5, tzinfo=UTC)


class Clock:
    """A time that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def run(box: Toolbox, name: str, **arguments: Any) -> dict[str, Any]:
    """The tool's result."""
    result: dict[str, Any] = json.loads(box.execute(name, json.dumps(arguments)).content)
    return result


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def box(clock: Clock) -> Toolbox:
    return Toolbox(NAMES, clock)


def test_every_tool_of_the_starter_has_a_schema() -> None:
    for tool in schemas(NAMES):
        function = tool["function"]
        assert set(function["parameters"]["required"]) <= set(function["parameters"]["properties"])
    assert [tool["function"]["name"] for tool in schemas(NAMES)] == list(NAMES)


def test_an_unknown_tool_is_a_fault_of_the_pack() -> None:
    with pytest.raises(PackError, match="'fly'"):
        schemas(["fly"])
    with pytest.raises(PackError, match="'fly'"):
        Toolbox(["fly"], Clock())


def test_time_here_and_in_a_city(box: Toolbox) -> None:
    assert run(box, "get_time") == {"time": "3:05 PM"}
    assert run(box, "get_time", city="oslo") == {"city": "Oslo", "time": "4:05 PM"}
    assert run(box, "get_time", city="New York")["time"] == "10:05 AM"
    assert run(box, "get_time", city="zorg") == {"error": "I do not know the time in Zorg"}


def test_dates(box: Toolbox) -> None:
    assert run(box, "get_date") == {"date": "Saturday, November 21, 2026"}
    assert run(box, "get_date", day="tomorrow") == {"day": "tomorrow", "date": "Sunday, November 22, 2026"}
    assert "error" in run(box, "get_date", day="someday")


def test_timers_run_and_end(box: Toolbox, clock: Clock) -> None:
    assert run(box, "set_timer", amount=90, unit="minutes") == {"timer": "90 minutes"}
    assert run(box, "set_timer", amount=1, unit="seconds") == {"timer": "1 second"}
    assert run(box, "check_timer") == {"left": "1 second"}
    assert box.due(clock.now) == []
    clock.now += timedelta(seconds=1)
    assert [timer.label for timer in box.due(clock.now)] == ["1 second"]
    assert box.due(clock.now) == []
    assert run(box, "check_timer") == {"left": "1 hour and 29 minutes"}
    assert run(box, "cancel_timer") == {"cancelled": 1}
    assert run(box, "cancel_timer") == {"error": "there is no timer running"}
    assert run(box, "check_timer") == {"error": "there is no timer running"}


@pytest.mark.parametrize(("amount", "unit"), [(0, "minutes"), (-5, "seconds"), (25, "hours"), (5, "weeks")])
def test_impossible_timers_are_refused(box: Toolbox, amount: int, unit: str) -> None:
    assert "error" in run(box, "set_timer", amount=amount, unit=unit)
    assert box.timers == []


def test_a_session_has_a_limit_of_timers(box: Toolbox) -> None:
    for _ in range(MAX_TIMERS):
        assert "timer" in run(box, "set_timer", amount=1, unit="hours")
    assert "error" in run(box, "set_timer", amount=1, unit="hours")


@pytest.mark.parametrize(
    ("expression", "result"),
    [("12 + 30", 42), ("7 - 10", -3), ("6 * 7", 42), ("10 / 4", 2.5), ("8 / 2", 4), ("-2 * (3 + 4)", -14)],
)
def test_sums(box: Toolbox, expression: str, result: float) -> None:
    assert run(box, "calculate", expression=expression) == {"result": result}


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "2 ** 9",
        "__import__('os')",
        "a + 1",
        "",
        "(" * 150,
        "9" * 500,
        "True + 1",
        "1e308 * 1e308",
        "'a' * 3",
        "1\0",
    ],
)
def test_what_is_no_sum_is_refused(box: Toolbox, expression: str) -> None:
    assert "error" in run(box, "calculate", expression=expression)


def test_words_are_spelled(box: Toolbox) -> None:
    assert run(box, "spell", word="cat") == {"letters": "C, A, T"}
    assert box.execute("spell", '{"word": "cat"}').said == "C, A, T."  # the service says it, whatever the model can do
    assert run(box, "spell", word="new york") == {"letters": "N, E, W, Y, O, R, K"}


def test_devices_keep_their_state(box: Toolbox) -> None:
    assert run(box, "get_device", device="lamp", room="kitchen")["state"] == "off"
    run(box, "set_device", device="lamp", room="kitchen", state="40%")
    assert run(box, "get_device", device="lamp", room="kitchen") == {
        "device": "lamp",
        "room": "kitchen",
        "state": "40%",
    }
    assert run(box, "get_device", device="lamp", room="office")["state"] == "off"
    run(box, "set_device", device="lights", state="on")
    assert run(box, "get_device", device="light", room="garden")["state"] == "on"


def test_devices_that_are_not_there(box: Toolbox) -> None:
    assert run(box, "set_device", device="oven", room="garden", state="on") == {
        "error": "there is no oven in the garden"
    }
    assert run(box, "set_device", device="rocket", state="on") == {"error": "there is no rocket in the house"}


def test_the_weather_is_honest(box: Toolbox) -> None:
    assert run(box, "get_weather", city="rome") == {"error": "I am offline, so I do not know the weather in Rome"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fly", "{}"),
        ("get_time", "{"),
        ("get_time", "[]"),
        ("get_time", '{"city": 5}'),
        ("get_time", '{"planet": "mars"}'),
        ("set_timer", '{"amount": "five", "unit": "minutes"}'),
        ("set_timer", '{"amount": true, "unit": "minutes"}'),
        ("set_timer", '{"amount": 1e400, "unit": "minutes"}'),
        ("set_timer", '{"unit": "minutes"}'),
        ("calculate", ""),
        ("get_date", "[" * 1990),
        ("get_date", '{"day": "' + "x" * 5000 + '"}'),
    ],
)
def test_what_a_model_gets_wrong_is_told_to_it(box: Toolbox, name: str, arguments: str) -> None:
    assert list(json.loads(box.execute(name, arguments).content)) == ["error"]


def test_only_the_packs_tools_run() -> None:
    assert "error" in run(Toolbox(["get_date"], Clock()), "get_time")
