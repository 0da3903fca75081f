"""The embedded language model: OpenAI chat over CTranslate2. Knows no session, and of tools only their names.

Every reply has a thread of its own; closing the iterator stops it at the next token.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from app import metrics
from app.errors import BadRequest, PackError, WorkerBusy
from app.workers import forced_call
from app.workers.base import ChatRequest, Health, Message, ReplyPart, TextDelta, Tool, ToolCall, Usage
from app.workers.chat_prompt import ChatTemplate
from app.workers.generation import Sampling, TextGenerator
from app.workers.hermes import OPEN, HermesParser, ParsedCall
from app.workers.history import is_system, without_oldest_turns
from app.workers.stop_strings import StopStrings

FILES: Final = ("model.bin", "config.json", "tokenizer.json", "chat_template.jinja")
WORD_STARTS: Final = ("Ġ", "▁")  # how byte-level BPE and SentencePiece write a space
MAX_TEMPERATURE: Final = 2.0  # as in OpenAI's API


class CTranslate2Chat:
    """A chat model in a folder: CTranslate2 weights, tokenizer.json, chat_template.jinja, generation_config.json."""

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "auto",
        compute_type: str = "int8",
        threads: int = 1,
        context_tokens: int = 1024,
        max_tokens: int = 256,
        at_once: int = 4,
        max_replies: int = 64,
        name: str = "",
    ) -> None:
        """Loads the model; `at_once` replies are written side by side with `threads` each, the others up
        to `max_replies` wait for their turn. Raises PackError where the folder is not such a model."""
        path = Path(path)
        for file in FILES:
            if not (path / file).is_file():
                raise PackError(f"{path} is no chat model: it has no {file}")
        self._model = TextGenerator(path, device=device, compute_type=compute_type, threads=threads, slots=at_once)
        special = [token.content for token in self._model.tokenizer.get_added_tokens_decoder().values()]
        self._template = ChatTemplate(path / "chat_template.jinja", special, self._model.bos_token)
        self._call_token = OPEN if self._model.tokenizer.token_to_id(OPEN) is not None else ""
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self._max_replies = max_replies
        self._name = name or path.parent.name

    def close(self) -> None:
        """Ends the engine's threads; the object is of no use afterwards."""
        self._model.close()

    async def health(self) -> Health:
        """Always well: the model is in this process."""
        detail = {"slots": self._max_replies, "slots_in_use": self._model.open, "context_tokens": self._context_tokens}
        return Health("language", "ctranslate2", self._name, detail)

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """Deltas and calls as they are written, then one Usage. Raises WorkerBusy, BadRequest, WorkerError.

        A call of a tool that was not declared, or one that never came to its end for saying the same again and again,
        is not passed on: the reply is written again without calls.
        """
        if self._model.open >= self._max_replies:
            raise WorkerBusy(f"{self._model.open} replies are open, the limit is {self._max_replies}")
        metrics.QUEUE_DEPTH.labels("language").observe(self._model.open)
        names = [str(tool["function"]["name"]) for tool in request.tools]
        forced = _forced_names(request.tool_choice, names)
        tools = () if request.tool_choice == "none" else tuple(request.tools)
        if forced:
            prompt, fixed, limit = self._prompt(request, tools)
            writer = _Writer(self._model, prompt, self._sampling(request, limit, may_call=True), fixed)
            yield await self._forced_call(writer, forced, request.tools)
            yield Usage(len(prompt), writer.tokens, "tool_calls")
            return
        prompt_tokens = written = 0
        for may_call in (True, False) if tools else (False,):
            prompt, fixed, limit = self._prompt(request, tools if may_call else ())
            prompt_tokens += len(prompt)
            parser, stops = HermesParser(), StopStrings(request.stop)
            calls, said, refused, reason = 0, False, False, "stop"
            async with self._model.stream(prompt, self._sampling(request, limit, may_call), fixed=fixed) as pieces:
                async for piece in pieces:
                    for part in parser.finish() if piece is None else parser.feed(piece):
                        if isinstance(part, ParsedCall):
                            refused = refused or part.name not in names or not may_call or pieces.looped
                            if not refused:
                                calls += 1
                                yield _call(part.name, part.arguments)
                        elif text := stops.feed(part):
                            said = True
                            yield TextDelta(text)
                    if stops.hit:
                        break
                else:
                    reason = pieces.finish_reason
                    if text := stops.rest():
                        said = True
                        yield TextDelta(text)
                written += pieces.tokens
            if not refused or said or calls:
                break
        yield Usage(prompt_tokens, written, "tool_calls" if calls else reason)

    async def log_probability(self, request: ChatRequest, reply: str) -> tuple[float, int]:
        """Natural logarithm of the probability of a reply's text, and its tokens; for evaluation. Raises BadRequest."""
        prompt, _, room = self._prompt(request, tuple(request.tools))
        tokens = self._model.tokens(reply)
        if not 0 < len(tokens) <= room:
            raise BadRequest(f"the reply has {len(tokens)} tokens, expected 1 to {room} after this prompt")
        (scores,) = await self._model.log_probabilities([[*prompt, *tokens]])
        return sum(scores[len(prompt) - 1 :]), len(tokens)  # scores[i] belongs to token i + 1

    def _prompt(self, request: ChatRequest, tools: Sequence[Tool]) -> tuple[list[str], int, int]:
        """The prompt's tokens, how many of them are the instructions', and how many may follow.

        The oldest turns are left out where the context is too small.
        """
        limit = self._max_tokens if request.max_tokens is None else request.max_tokens
        if limit < 1:
            raise BadRequest(f"max_tokens must be at least 1, got {limit}", param="max_tokens")
        room = self._context_tokens - min(limit, self._context_tokens // 4)
        messages = list(request.messages)
        while True:
            prompt = self._model.tokens(self._template.render(messages, tools))
            if len(prompt) <= room:
                return prompt, self._fixed(prompt, messages, tools), min(limit, self._context_tokens - len(prompt))
            shorter = without_oldest_turns(messages)
            if shorter is None:
                raise BadRequest(
                    f"the prompt has {len(prompt)} tokens, expected at most {room}",
                    code="context_length_exceeded",
                    param="messages",
                )
            messages = shorter

    def _fixed(self, prompt: list[str], messages: Sequence[Message], tools: Sequence[Tool]) -> int:
        """Tokens at the prompt's beginning that a session's next replies share: its instructions and tools."""
        if not is_system(messages[0]):
            return 0
        try:
            fixed = self._model.tokens(self._template.render(messages[:1], tools, begin_reply=False))
        except BadRequest:  # some templates refuse instructions without a turn
            return 0
        return len(fixed) if prompt[: len(fixed)] == fixed else 0

    def _sampling(self, request: ChatRequest, limit: int, may_call: bool) -> Sampling:
        given, top_p = request.temperature, request.top_p
        default = self._model.defaults.get("temperature", 1.0) if self._model.defaults.get("do_sample") else 0.0
        temperature = float(default if given is None else given)
        if not 0 <= temperature <= MAX_TEMPERATURE:
            raise BadRequest(f"temperature must be 0 to {MAX_TEMPERATURE:g}, got {temperature}", param="temperature")
        top_p = float(self._model.defaults.get("top_p", 1.0) if top_p is None else top_p)
        if not 0 < top_p <= 1:
            raise BadRequest(f"top_p must be above 0 and at most 1, got {top_p}", param="top_p")
        return Sampling(limit, temperature, top_p, "" if may_call else self._call_token)

    async def _forced_call(self, writer: _Writer, names: Sequence[str], tools: Sequence[Tool]) -> ToolCall:
        """Of one of these tools, the one that the model finds likeliest."""
        quoted = [json.dumps(name, ensure_ascii=False)[:-1] for name in names]
        head = f'{OPEN}{{"name": '
        chosen = await writer.likeliest(head.rstrip(), [f" {name}" for name in quoted], '", "arguments": {}}')
        schema = next(tool["function"].get("parameters") for tool in tools if tool["function"]["name"] == names[chosen])
        written = f'{head}{quoted[chosen]}", "arguments":'
        return _call(names[chosen], await forced_call.arguments(schema or {}, writer, written))


class _Writer:
    """What a forced call asks the model behind one prompt."""

    def __init__(self, model: TextGenerator, prompt: list[str], sampling: Sampling, fixed: int) -> None:
        self.tokens = 0
        """Written by the model so far."""
        self._model = model
        self._prompt = prompt
        self._sampling = sampling
        self._fixed = fixed

    async def text(self, written: str, end: re.Pattern[str]) -> str:
        """See `forced_call.Writer`; nothing once the reply's tokens are used up."""
        left = self._sampling.max_tokens - self.tokens
        if left < 1:
            return ""
        text = ""
        tokens = self._model.tokens(written)
        if tokens[-1] in WORD_STARTS:  # the tokenizer's own: what is written ends with a literal, never with a space
            tokens.pop()
        prompt = [*self._prompt, *tokens]
        async with self._model.stream(prompt, replace(self._sampling, max_tokens=left), fixed=self._fixed) as pieces:
            async for piece in pieces:
                text += piece or ""
                if found := end.match(text):
                    text = found["body"] or ""
                    break
            self.tokens += pieces.tokens
        return text

    async def likeliest(self, written: str, choices: Sequence[str], rest: str = "") -> int:
        """See `forced_call.Writer`. Of the `rest` behind a choice only what tells that it is over counts: a token."""
        if len(choices) == 1:
            return 0
        start = len(self._prompt)
        rows = [[*self._prompt, *self._model.tokens(written + choice + rest)] for choice in choices]
        ends = [start + len(self._model.tokens(written + choice)) for choice in choices]
        scored = await self._model.log_probabilities(rows)
        # scores[i] belongs to token i + 1
        sums = [sum(scores[start - 1 : end if rest else end - 1]) for scores, end in zip(scored, ends, strict=True)]
        return sums.index(max(sums))


def _call(name: str, arguments: str) -> ToolCall:
    return ToolCall(f"call_{uuid.uuid4().hex[:24]}", name, arguments)


def _forced_names(choice: Any, names: Sequence[str]) -> list[str]:
    """The tools of which one has to be called; empty where the model is free. Raises BadRequest."""
    if choice in ("auto", "none", None):
        return []
    if choice == "required":
        if not names:
            raise BadRequest("tool_choice is required, but no tools are declared", param="tool_choice")
        return list(names)
    try:
        name = str(choice.get("name") or choice["function"]["name"])
    except (AttributeError, KeyError, TypeError):
        raise BadRequest(
            f"tool_choice must be auto, none, required or a function, got {choice!r}", param="tool_choice"
        ) from None
    if name not in names:
        raise BadRequest(f"tool_choice names {name!r}, declared are: {', '.join(names) or 'none'}", param="tool_choice")
    return [name]
