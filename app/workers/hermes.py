"""Tool calls in the hermes form, `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, out of a stream of text.

Sans-I/O: text goes in as it is written, text without calls and whole calls come out. Knows no model and no tool.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MAX_CALL = 16_384  # characters; a call that never ends is given up


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call as the model wrote it."""

    name: str
    """Empty where the model wrote no name."""
    arguments: str
    """JSON text of an object, repaired where the model left it open; `{}` where nothing can be saved."""


class HermesParser:
    """One reply's parser. No piece of a tag ever comes out as text."""

    def __init__(self) -> None:
        self._text = ""
        self._in_call = False

    def feed(self, piece: str) -> list[str | ParsedCall]:
        """The next text of the reply; gives the text and calls that are certain by now."""
        self._text += piece
        parts: list[str | ParsedCall] = []
        while True:
            tag = CLOSE if self._in_call else OPEN
            before, found, after = self._text.partition(tag)
            if found:
                if self._in_call:
                    parts.append(parsed(before))
                elif before:
                    parts.append(before)
                self._in_call = not self._in_call
                self._text = after
                continue
            if self._in_call:
                if len(self._text) > MAX_CALL:
                    self._text = self._text[:MAX_CALL]
                return parts
            held = _overlap(self._text, OPEN)
            if certain := self._text[: len(self._text) - held]:
                parts.append(certain)
            self._text = self._text[len(self._text) - held :]
            return parts

    def finish(self) -> list[str | ParsedCall]:
        """The rest, once the reply has ended: a call without its end is repaired, half a tag is dropped."""
        rest, self._text = self._text, ""
        if self._in_call and rest.strip():
            return [parsed(rest)]
        return [rest] if rest and not self._in_call and not OPEN.startswith(rest) else []


def parsed(written: str) -> ParsedCall:
    """The name and arguments in the text between the tags."""
    call = loads_object(written)
    name, arguments = call.get("name"), call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = loads_object(arguments)
    if not isinstance(arguments, dict):
        arguments = {}
    return ParsedCall(name if isinstance(name, str) else "", json.dumps(arguments, ensure_ascii=False))


def loads_object(text: str) -> dict[str, object]:
    """A JSON object, closed where it was cut off; empty where that does not help."""
    text = text.strip()
    for candidate in _closings(text):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else {}
    return {}


def _closings(text: str) -> list[str]:
    """The text itself, without what stands behind its object, and with open strings and braces closed."""
    stack: list[str] = []
    in_string = escaped = False
    for index, character in enumerate(text):
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "{[":
            stack.append("}" if character == "{" else "]")
        elif character in "}]" and stack:
            stack.pop()
            if not stack:
                return [text[: index + 1]]
    ends = "".join(reversed(stack))
    if in_string:
        return [text + '"' + ends, text + '": null' + ends]
    bare = text.rstrip().rstrip(",")
    return [bare + ends, bare.rstrip(":") + ": null" + ends]


def _overlap(text: str, tag: str) -> int:
    """Length of the longest end of `text` that begins `tag`."""
    return next((n for n in range(min(len(text), len(tag) - 1), 0, -1) if tag.startswith(text[-n:])), 0)
