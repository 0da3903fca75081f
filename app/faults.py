"""What a validation found wrong, in words: what was got, and what was expected. Knows no event and no route.

The words are ours: pydantic's speak of its own types, and change with its versions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import BadRequest

SHOWN = 80  # characters of what was got
TYPES = ("str", "int", "float", "bool")  # pydantic's names for choices of a type, beside those of classes
EXPECTED = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "string_type": "a string",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""By pydantic's types of errors, with the context that it gives to each."""


def refusal(faults: Sequence[Mapping[str, Any]], *, prefix: str = "", skip: int = 0) -> BadRequest:
    """The first of pydantic's errors, with `param`, where one parameter is to blame.

    `skip` leading steps of its path are no part of what was sent; `prefix` stands before the others.
    """
    path = path_of(faults[0]["loc"][skip:])
    # Each choice of a type has its own fault: the choice that came furthest into the value is the one that was meant.
    choices = [one for one in faults if f"{path_of(one['loc'][skip:])}.".startswith(f"{path}.")]
    deepest = max(choices, key=lambda one: len(path_of(one["loc"][skip:]).split(".")))
    same = [one for one in choices if path_of(one["loc"]) == path_of(deepest["loc"])]
    param = ".".join(filter(None, (prefix, path_of(deepest["loc"][skip:])))) or None
    if deepest["type"] == "missing":
        return BadRequest(f"{param or 'the body'} is missing", code="missing_required_parameter", param=param)
    if deepest["type"] == "extra_forbidden":
        return BadRequest(f"unknown parameter {param}", code="unknown_parameter", param=param)
    return BadRequest(f"{param or 'the body'}: {in_words(*same)}", param=param)


def in_words(*faults: Mapping[str, Any]) -> str:
    """Pydantic's errors of one value as `got X, expected Y or Z`; what a validator of ours says stays as it is."""
    first = faults[0]
    if first["type"] in ("value_error", "assertion_error"):
        said = str(first["msg"]).partition(", ")[2]
        upload = said.startswith("Expected UploadFile")  # FastAPI's, of a form's field that is no file
        return f"got {shown(first['input'])}, expected a file" if upload else said
    expected = dict.fromkeys(_expected(fault) for fault in faults)  # each once
    return f"got {_got(first)}, expected {', or '.join(expected)}"


def path_of(steps: Sequence[int | str]) -> str:
    """Where it was, `a.0.b`; without pydantic's names for the choices of a type, such as `constrained-int`."""
    return ".".join(str(step) for step in steps if isinstance(step, int) or _is_name(step))


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _is_name(step: str) -> bool:
    return step.isidentifier() and not step[0].isupper() and step not in TYPES


def _got(fault: Mapping[str, Any]) -> str:
    """The value, or its length where that is the fault."""
    if fault["type"] in ("too_long", "string_too_long"):
        return f"{len(fault['input'])} {'items' if fault['type'] == 'too_long' else 'characters'}"
    return shown(fault["input"])


def _expected(fault: Mapping[str, Any]) -> str:
    kind = fault["type"]
    context = {name: _plain(value) for name, value in fault.get("ctx", {}).items()}
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        thing = "character" if kind.startswith("string") else "item"
        count = context["min_length"] if kind.endswith("short") else context["max_length"]
        return f"at {'least' if kind.endswith('short') else 'most'} {count} {thing}{'' if count == 1 else 's'}"
    if kind in EXPECTED:
        return EXPECTED[kind].format(**context)
    return str(fault["msg"]).removeprefix("Input should be ")


def _plain(value: Any) -> Any:
    """2.0 as 2: a limit of a number that need not be whole."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
