"""What a validation found wrong, in words: what was got, and what was expected. Knows no event and no route."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 80  # characters of what was got


def in_words(fault: Mapping[str, Any]) -> str:
    """One of pydantic's errors as `got X, expected Y`; what a validator of ours says stays as it is."""
    said = str(fault["msg"])
    if fault["type"] in ("value_error", "assertion_error"):
        return said.partition(", ")[2]
    expected = re.sub(r"^Input should (?:be )?", "", said)
    expected = re.sub(r"^(\w+) should have ", lambda found: f"a {found[1].lower()} with ", expected)
    expected = expected.replace("a valid ", "a ").replace("a integer", "an integer").replace("a array", "an array")
    return f"got {shown(fault['input'])}, expected {expected}"


def path_of(steps: Sequence[int | str]) -> str:
    """Where it was, `a.0.b`; without pydantic's names for the choices of a type, such as `constrained-int`."""
    return ".".join(str(step) for step in steps if isinstance(step, int) or step.isidentifier())


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
