"""Arithmetic on text, without evaluating code. Knows no tool and no model."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Final

_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
MAX_LENGTH: Final = 200  # characters; bounds the parser's depth and the size of a product


def evaluate(expression: str) -> int | float:
    """The value of numbers with + - * / and parentheses; whole results are int, others have 2 decimals.

    Raises ValueError with a clause for the caller.
    """
    if len(expression) > MAX_LENGTH:
        raise ValueError("that is too long to calculate")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except ZeroDivisionError:
        raise ValueError("I cannot divide by zero") from None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        raise ValueError("I cannot calculate that") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("that is too large to calculate")
    return int(value) if value == int(value) else round(value, 2)


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number: float = node.value  # type: ignore[assignment]
        return number
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError(f"got {type(node).__name__}, expected a number or a sum")
