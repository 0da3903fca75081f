"""OpenAI chat messages to the prompt's text, by the model's own chat template. Knows no engine and no tokens.

The template comes with a pack, so it runs in jinja's immutable sandbox: it can read its arguments and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.errors import BadRequest, PackError
from app.workers.base import Message, Tool

ROLES = {"developer": "system"}
"""Roles of OpenAI that templates do not know."""


class ChatTemplate:
    """A compiled chat_template.jinja."""

    def __init__(self, path: Path, special: Iterable[str], bos_token: str) -> None:
        """`special` are the tokens that only the template may write. Raises PackError for a broken file."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _tojson  # jinja's own escapes HTML, which no model was trained on
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self._special = tuple(sorted(special, key=len, reverse=True))
        self._bos_token = bos_token
        try:
            self._template = environment.from_string(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, TemplateError) as error:
            raise PackError(f"{path} is no chat template: {error}") from error

    def render(self, messages: Sequence[Message], tools: Sequence[Tool], *, begin_reply: bool = True) -> str:
        """The prompt, with `begin_reply` to where the reply begins. Raises BadRequest for what the template refuses."""
        try:
            return self._template.render(
                messages=[self._plain(message) for message in messages],
                tools=list(tools) or None,
                add_generation_prompt=begin_reply,
                bos_token=self._bos_token,
            )
        except (TemplateError, TypeError, ValueError, AttributeError, KeyError) as error:
            raise BadRequest(f"the model's chat template refuses these messages: {error}", param="messages") from error

    def _plain(self, message: Message) -> dict[str, Any]:
        """The message with its content as one text, without tokens that would end a turn or begin a call."""
        role = str(message.get("role", "user"))
        plain = {**message, "role": ROLES.get(role, role), "content": self._cleaned(text_of(message.get("content")))}
        if calls := message.get("tool_calls"):
            plain["tool_calls"] = [{**call, "function": self._function(call["function"])} for call in calls]
        else:
            plain.pop("tool_calls", None)
        return plain

    def _function(self, function: Mapping[str, Any]) -> dict[str, Any]:
        arguments = function.get("arguments") or "{}"
        if isinstance(arguments, str):  # transformers' templates expect an object
            try:
                arguments = json.loads(self._cleaned(arguments))
            except ValueError:
                arguments = {}
        return {"name": self._cleaned(str(function.get("name", ""))), "arguments": arguments}

    def _cleaned(self, text: str) -> str:
        while any(token in text for token in self._special):
            for token in self._special:
                text = text.replace(token, "")
        return text


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or OpenAI's list of parts; parts that are no text are left out."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise BadRequest(f"content must be a text or a list of parts, got {type(content).__name__}", param="messages")
    parts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "".join(part for part in parts if isinstance(part, str))


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)
