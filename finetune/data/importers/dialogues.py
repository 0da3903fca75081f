"""Dialogues: our own JSON Lines, ShareGPT, OpenAI chat, and plain request-and-answer rows; JSONL or a JSON list.

Each row says by its fields which form it has: `turns`, `conversations`, `messages`, or `user` and `assistant`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.data.errors import ManifestError
from finetune.data.manifest import json_lines
from finetune.data.rows import Dialogue, Turn

SHAREGPT = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
    "bing": "assistant", "system": "system", "function_call": "call", "observation": "tool", "tool": "tool",
}  # fmt: skip


def rows(source: Path, *, language: str = "", licence: str = "", consent: str = "") -> Iterator[Dialogue]:
    """Dialogues of a file. A row without an answer (`assistant` null) is left out: nothing can be learnt from it.

    Where a row names no language, `language` holds. Raises ManifestError naming line and field.
    """
    for number, record in _records(source):
        where = f"{source}:{number}"
        if not isinstance(record, dict):
            raise ManifestError(f"{where}: got {type(record).__name__}, expected an object")
        turns = _turns(record, where)
        if not any(turn.role == "assistant" for turn in turns):
            continue
        try:
            yield Dialogue(
                id=str(record.get("id") or f"{source.stem}-{number:06d}"),
                language=record.get("language") or language,
                turns=tuple(turns),
                source=record.get("source") or f"{source.name}:{number}",
                licence=record.get("licence") or licence,
                consent=record.get("consent") or consent,
                split=record.get("split") or "",
                tools=tuple(record.get("tools") or ()),
            )
        except ValueError as error:
            raise ManifestError(f"{where}: field {error}") from error


def _records(source: Path) -> Iterator[tuple[int, Any]]:
    with source.open(encoding="utf-8") as file:
        listed = file.read(1) == "["
    if not listed:
        yield from json_lines(source)
        return
    try:
        yield from enumerate(json.loads(source.read_text(encoding="utf-8")), start=1)
    except ValueError as error:
        raise ManifestError(f"{source} is no JSON: {error}") from error


def _turns(record: Mapping[str, Any], where: str) -> list[Turn]:
    if "turns" in record:
        return [_own(turn, f"{where}: field turns[{i}]") for i, turn in enumerate(_list(record, "turns", where))]
    if "messages" in record:
        return [_openai(m, f"{where}: field messages[{i}]") for i, m in enumerate(_list(record, "messages", where))]
    if "conversations" in record:
        said = _list(record, "conversations", where)
        return [_sharegpt(m, i, f"{where}: field conversations[{i}]") for i, m in enumerate(said)]
    if "user" in record:
        answer = [Turn("assistant", record["assistant"])] if record.get("assistant") else []
        return [Turn("user", record["user"]), *answer]
    raise ManifestError(
        f"{where}: got {', '.join(record)}, expected turns, messages, conversations, or user and assistant"
    )


def _own(turn: Mapping[str, Any], where: str) -> Turn:
    calls = tuple(_call(call, f"{where}: tool call", i) for i, call in enumerate(turn.get("tool_calls") or ()))
    if turn.get("role") != "assistant":
        calls = ()  # some corpora put the calls that answer a request on the request
    return _turn(turn.get("role"), turn.get("text"), turn.get("speaker"), where, calls, turn.get("tool_call_id"))


def _openai(message: Mapping[str, Any], where: str) -> Turn:
    """`name` is OpenAI's speaker label; content may be a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    calls = tuple(_call(call, f"{where}: tool call", i) for i, call in enumerate(message.get("tool_calls") or ()))
    role = {"developer": "system", "function": "tool"}.get(str(message.get("role")), message.get("role"))
    return _turn(
        role, content or ("" if calls else None), message.get("name"), where, calls, message.get("tool_call_id")
    )


def _sharegpt(message: Mapping[str, Any], number: int, where: str) -> Turn:
    said = message.get("from")
    role = SHAREGPT.get(str(said))
    if role is None:
        raise ManifestError(f"{where}: field from: got {said!r}, expected one of {', '.join(SHAREGPT)}")
    if role == "call":
        return Turn("assistant", "", tool_calls=(_call(message.get("value"), where, number),))
    return _turn(role, message.get("value"), message.get("speaker"), where)


def _turn(
    role: object, text: object, speaker: object, where: str, calls: tuple[Any, ...] = (), answers: object = None
) -> Turn:
    if not isinstance(text, str):
        raise ManifestError(f"{where}: got {text!r}, expected text")
    try:
        return Turn(str(role), text, str(speaker or ""), calls, str(answers or ""))
    except ValueError as error:
        raise ManifestError(f"{where}: field {error}") from error


def _call(call: Any, where: str, number: int) -> Mapping[str, Any]:
    """OpenAI's form of a tool call, from that form or from {"name", "arguments"}, as text or as an object."""
    if isinstance(call, str):
        try:
            call = json.loads(call)
        except ValueError as error:
            raise ManifestError(f"{where}: got {call!r}, expected a call as JSON") from error
    function = call.get("function", call) if isinstance(call, dict) else {}
    if not isinstance(function.get("name"), str):
        raise ManifestError(f"{where}: got {call!r}, expected a call with a name")
    arguments = function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call.get("id") or f"call_{number}",
        "type": "function",
        "function": {"name": function["name"], "arguments": text},
    }


def _list(record: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    value = record[name]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ManifestError(f"{where}: field {name}: expected a list of objects")
    return value
