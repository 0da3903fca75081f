"""Faults of a validation: what was got and what was expected, in words that name no library."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.faults import in_words, path_of, shown


class Wish(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(strict=True)

    count: Annotated[int, Field(ge=1)] | Literal["inf"] = 1
    speed: float = Field(1.0, le=4)
    name: str = Field("anna", min_length=2)
    voice: Literal["alloy", "echo"] = "alloy"
    names: list[str] = []

    @field_validator("name")
    @classmethod
    def _small(cls, name: str) -> str:
        if name != name.lower():
            raise ValueError(f"got {name}, expected small letters")
        return name


@pytest.mark.parametrize(
    ("field", "value", "where", "words"),
    [
        ("count", 0, "count", "got 0, expected greater than or equal to 1"),
        ("speed", 5.0, "speed", "got 5.0, expected less than or equal to 4"),
        ("speed", "fast", "speed", "got 'fast', expected a number"),
        ("name", 3, "name", "got 3, expected a string"),
        ("name", "a", "name", "got 'a', expected a string with at least 2 characters"),
        ("name", "Anna", "name", "got Anna, expected small letters"),
        ("voice", "fox", "voice", "got 'fox', expected 'alloy' or 'echo'"),
        ("names", ["a", 1], "names.1", "got 1, expected a string"),
        ("names", None, "names", "got None, expected a list"),
    ],
)
def test_a_fault_says_what_was_got_and_what_was_expected(field: str, value: object, where: str, words: str) -> None:
    with pytest.raises(ValidationError) as found:
        Wish.model_validate({field: value})
    fault = found.value.errors()[0]
    assert (path_of(fault["loc"]), in_words(fault)) == (where, words)


def test_a_long_value_is_cut() -> None:
    assert shown("x" * 500) == "'" + "x" * 76 + "..."
