"""Faults of a validation: what was got and what was expected, in words that name no library."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.errors import BadRequest
from app.faults import refusal, shown


class Place(BaseModel):
    """Where."""

    model_config = ConfigDict(extra="forbid")

    city: str
    floor: int = 0


class Wish(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(strict=True)

    count: Annotated[int, Field(ge=1)] | Literal["inf"] = 1
    speed: float = Field(1.0, le=4.0, allow_inf_nan=False)
    name: str = Field("anna", min_length=2, max_length=9)
    voice: Literal["alloy", "echo"] = "alloy"
    names: list[str] = Field(["a"], min_length=1, max_length=2)
    id: str = Field("a", pattern=r"^\w+$")
    muted: bool = False
    place: str | Place = "here"

    @field_validator("name")
    @classmethod
    def _small(cls, name: str) -> str:
        if name != name.lower():
            raise ValueError(f"got {name}, expected small letters")
        return name


@pytest.mark.parametrize(
    ("field", "value", "where", "words"),
    [
        ("count", 0, "count", "got 0, expected at least 1, or 'inf'"),
        ("count", 1.5, "count", "got 1.5, expected an integer, or 'inf'"),
        ("speed", 5.0, "speed", "got 5.0, expected at most 4"),
        ("speed", float("nan"), "speed", "got nan, expected a finite number"),
        ("speed", "fast", "speed", "got 'fast', expected a number"),
        ("name", 3, "name", "got 3, expected a string"),
        ("name", "a", "name", "got 'a', expected at least 2 characters"),
        ("name", "a" * 99, "name", "got 99 characters, expected at most 9 characters"),
        ("name", "Anna", "name", "got Anna, expected small letters"),
        ("voice", "fox", "voice", "got 'fox', expected 'alloy' or 'echo'"),
        ("names", ["a", 1], "names.1", "got 1, expected a string"),
        ("names", None, "names", "got None, expected a list"),
        ("names", [], "names", "got [], expected at least 1 item"),
        ("names", ["a"] * 3, "names", "got 3 items, expected at most 2 items"),
        ("id", "a b", "id", r"got 'a b', expected a string that matches ^\w+$"),
        ("muted", "perhaps", "muted", "got 'perhaps', expected true or false"),
        ("place", 5, "place", "got 5, expected a string, or an object"),
    ],
)
def test_a_fault_says_what_was_got_and_what_was_expected(field: str, value: object, where: str, words: str) -> None:
    refused = refused_for({field: value})
    assert (refused.param, refused.message) == (where, f"{where}: {words}")


@pytest.mark.parametrize(
    ("value", "param", "message"),
    [
        ({}, "wish.place.city", "wish.place.city is missing"),
        ({"city": "Bern", "floor": "top"}, "wish.place.floor", "wish.place.floor: got 'top', expected an integer"),
        ({"city": "Bern", "street": 1}, "wish.place.street", "unknown parameter wish.place.street"),
    ],
)
def test_of_the_choices_of_a_type_the_one_that_fits_best_is_explained(value: object, param: str, message: str) -> None:
    refused = refused_for({"place": value}, prefix="wish")
    assert (refused.param, refused.message) == (param, message)


def test_a_whole_body_that_is_wrong_has_no_param() -> None:
    refused = refused_for([])
    assert (refused.param, refused.message) == (None, "the body: got [], expected an object")


def refused_for(fields: object, prefix: str = "") -> BadRequest:
    with pytest.raises(ValidationError) as found:
        Wish.model_validate(fields)
    return refusal(found.value.errors(), prefix=prefix)


def test_a_long_value_is_cut() -> None:
    assert shown("x" * 500) == "'" + "x" * 76 + "..."
