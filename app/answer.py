"""Writes one reply with the language model, running the service's own tools on the way. Knows no audio, no events.

A tool that the client declared is the client's: it is handed back in `Answer.calls` and never executed here. A tool of
the pack is executed here and stays invisible to the client, who could not make sense of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from app.conversation import Item, messages_of
from app.errors import BadRequest
from app.events import ResponseOptions
from app.packs import Pack
from app.reply import close
from app.session_config import SessionConfig
from app.spoken_any import spoken_form
from app.tools import Result, schemas
from app.workers.base import ChatRequest, LanguageModel, Message, TextDelta, Tool, ToolCall, Usage

MAX_ROUNDS = 4  # of tool calls in one reply; a model that only calls tools would never speak


class Tools(Protocol):
    """The service's own tools of one session."""

    def execute(self, name: str, arguments: str) -> Result:
        """The result, also where the arguments make no sense."""


@dataclass(slots=True)
class Answer:
    """What came of a reply besides its words."""

    calls: list[ToolCall] = field(default_factory=list)
    """Of the client's tools."""
    hidden: list[Message] = field(default_factory=list)
    """Calls of the service's own tools and their results, for later prompts."""
    executed: list[ToolCall] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)


def request_of(
    items: Iterable[Item], config: SessionConfig, options: ResponseOptions, pack: Pack
) -> tuple[ChatRequest, list[str]]:
    """The prompt of one reply, and the names of the pack's tools in it; a client's tool of the same name wins."""
    settings, said = pack.language_model, partial(spoken_form, language=pack.language)
    instructions = config.instructions if options.instructions is None else options.instructions
    declared = [_chat_tool(tool) for tool in (config.tools if options.tools is None else options.tools)]
    theirs = {tool["function"]["name"] for tool in declared}
    own = [name for name in settings.tools if name not in theirs]
    limit = options.max_output_tokens or config.max_output_tokens
    choice = options.tool_choice or config.tool_choice
    if declared and choice not in ("auto", "none"):
        own = []  # a forced call is the client's; one of ours would be invisible
    request = ChatRequest(
        messages_of(list(items), instructions, said if settings.spoken_input else str),
        tools=[*schemas(own), *declared],
        tool_choice=_chat_tool(choice) if isinstance(choice, dict) else choice,
        model=pack.reference,
        base_sha256=settings.base_hash,
        max_tokens=settings.max_tokens if limit == "inf" else limit,
    )
    return request, own


def check_choice(config: SessionConfig, options: ResponseOptions) -> None:
    """Raises BadRequest where a reply is to call a function that nobody declared."""
    names = [tool["name"] for tool in (config.tools if options.tools is None else options.tools)]
    choice = options.tool_choice
    if choice == "required" and not names:
        raise BadRequest("tool_choice is required, but no tools are declared", param="response.tool_choice")
    if isinstance(choice, dict) and choice.get("name") not in names:
        raise BadRequest(
            f"tool_choice names {choice.get('name')!r}, declared are: {', '.join(names) or 'none'}",
            param="response.tool_choice",
        )


async def write(
    language: LanguageModel, request: ChatRequest, tools: Tools, own: Iterable[str], answer: Answer
) -> AsyncGenerator[str, None]:
    """The reply's text deltas; `answer` is filled on the way. `own`: names of tools that are executed here."""
    own = frozenset(own)
    for _ in range(MAX_ROUNDS):
        calls: list[ToolCall] = []
        parts = language.reply(replace(request, messages=[*request.messages, *answer.hidden]))
        try:
            async for part in parts:
                match part:
                    case TextDelta(text):
                        yield text
                    case ToolCall():
                        calls.append(part)
                    case Usage():
                        answer.usage.append(part)
        finally:
            await close(parts)
        answer.calls += [call for call in calls if call.name not in own]
        mine = [call for call in calls if call.name in own]
        if not mine:
            return
        answer.executed += mine
        answer.hidden.append({"role": "assistant", "content": None, "tool_calls": [_dump(call) for call in mine]})
        for call in mine:
            result = tools.execute(call.name, call.arguments)
            answer.hidden.append(
                {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": result.content}
            )
        if answer.calls:
            return
        if len(mine) == 1 and result.said:
            yield result.said
            return


def _dump(call: ToolCall) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _chat_tool(tool: Tool) -> Tool:
    """A Realtime tool or tool choice, which is flat, in the nested form of OpenAI chat."""
    if "function" in tool:
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}
