"""The embedded language model: a CTranslate2 generator with tokenizer and chat template. Knows no session and no tool.

Every reply runs on a thread of its own inside CTranslate2; closing the iterator stops it at the next token.
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.errors import BadRequest, PackError, WorkerBusy, WorkerError
from app.workers.base import ChatRequest, Health, Message, ReplyPart, TextDelta, Tool, ToolCall, Usage
from app.workers.chat_prompt import ChatTemplate
from app.workers.hermes import OPEN, HermesParser, ParsedCall
from app.workers.stop_strings import StopStrings

FILES: Final = ("model.bin", "config.json", "tokenizer.json", "chat_template.jinja")
MAX_TEMPERATURE: Final = 2.0  # as in OpenAI's API


@dataclass(frozen=True, slots=True)
class _Sampling:
    """How the next token is chosen."""

    max_tokens: int
    temperature: float
    top_p: float
    may_call: bool


class CTranslate2Chat:
    """A chat model in a folder: CTranslate2 weights, tokenizer.json, chat_template.jinja, generation_config.json."""

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        compute_type: str = "int8",
        threads: int = 1,
        context_tokens: int = 1024,
        max_tokens: int = 256,
        max_replies: int = 4,
        name: str = "",
    ) -> None:
        """Loads the model; `threads` is per reply. Raises PackError where the folder is not such a model."""
        for file in FILES:
            if not (path / file).is_file():
                raise PackError(f"{path} is no chat model: it has no {file}")
        import ctranslate2
        from tokenizers import Tokenizer

        try:
            self._generator = ctranslate2.Generator(
                str(path), device=device, compute_type=compute_type, inter_threads=max_replies, intra_threads=threads
            )
            self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        except Exception as error:  # both libraries raise bare RuntimeError, ValueError or Exception
            raise PackError(f"{path} cannot be loaded as a chat model: {error}") from error
        defaults = path / "generation_config.json"
        self._defaults = json.loads(defaults.read_text(encoding="utf-8")) if defaults.is_file() else {}
        special = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        self._template = ChatTemplate(path / "chat_template.jinja", special, str(config.get("bos_token") or ""))
        self._ends = self._end_tokens(config)
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self._max_replies = max_replies
        self._name = name or path.parent.name
        self._open = 0
        self._pool = ThreadPoolExecutor(max_replies, thread_name_prefix="chat")

    async def health(self) -> Health:
        """Always well: the model is in this process."""
        detail = {"slots": self._max_replies, "slots_in_use": self._open, "context_tokens": self._context_tokens}
        return Health("language", "ctranslate2", self._name, detail)

    async def reply(self, request: ChatRequest) -> AsyncIterator[ReplyPart]:
        """Deltas and calls as they are written, then one Usage. Raises WorkerBusy, BadRequest, WorkerError.

        A call of a tool that was not declared is not passed on: the reply is written again without calls.
        """
        if self._open >= self._max_replies:
            raise WorkerBusy(f"{self._open} replies are being written, the limit is {self._max_replies}")
        names = [str(tool["function"]["name"]) for tool in request.tools]
        forced = _forced_names(request.tool_choice, names)
        tools = () if request.tool_choice == "none" else tuple(request.tools)
        # A call that nobody declared cannot be answered: then, and only before anything was said, a second attempt.
        prompt_tokens = written = 0
        for may_call in (True, False) if tools else (False,):
            prompt, limit = self._prompt(request, tools if may_call else ())
            prefix = ""
            if forced and may_call:
                prefix = await self._forced_prefix(prompt, forced)
                prompt = [*prompt, *self._tokens(prefix)]
            sampling = self._sampling(request, limit, may_call)
            parser, stops = HermesParser(prefix), StopStrings(request.stop)
            prompt_tokens += len(prompt)
            calls, said, refused, reason = 0, False, False, "stop"
            async with _Stream(self, prompt, sampling) as pieces:
                async for piece in pieces:
                    for part in parser.feed(piece) if piece is not None else parser.finish():
                        if isinstance(part, ParsedCall):
                            name = forced[0] if len(forced) == 1 and may_call else part.name
                            if name not in names or not may_call:
                                refused = True
                                continue
                            calls += 1
                            yield ToolCall(f"call_{uuid.uuid4().hex[:24]}", name, part.arguments)
                        elif not forced and (text := stops.feed(part)):
                            said = True
                            yield TextDelta(text)
                    if stops.hit or (forced and calls):
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

    def _prompt(self, request: ChatRequest, tools: Sequence[Tool]) -> tuple[list[str], int]:
        """The prompt's tokens and how many may follow; the oldest turns are left out where the context is too small."""
        limit = self._max_tokens if request.max_tokens is None else request.max_tokens
        if limit < 1:
            raise BadRequest(f"max_tokens must be at least 1, got {limit}", param="max_tokens")
        room = self._context_tokens - min(limit, self._context_tokens // 4)
        messages = list(request.messages)
        while True:
            prompt = self._tokens(self._template.render(messages, tools))
            if len(prompt) <= room:
                return prompt, min(limit, self._context_tokens - len(prompt))
            shorter = without_oldest_turn(messages)
            if shorter is None:
                raise BadRequest(
                    f"the prompt has {len(prompt)} tokens, expected at most {room}",
                    code="context_length_exceeded",
                    param="messages",
                )
            messages = shorter

    def _sampling(self, request: ChatRequest, limit: int, may_call: bool) -> _Sampling:
        given, top_p = request.temperature, request.top_p
        default = self._defaults.get("temperature", 1.0) if self._defaults.get("do_sample") else 0.0
        temperature = float(default if given is None else given)
        if not 0 <= temperature <= MAX_TEMPERATURE:
            raise BadRequest(f"temperature must be 0 to {MAX_TEMPERATURE:g}, got {temperature}", param="temperature")
        top_p = float(self._defaults.get("top_p", 1.0) if top_p is None else top_p)
        if not 0 < top_p <= 1:
            raise BadRequest(f"top_p must be above 0 and at most 1, got {top_p}", param="top_p")
        return _Sampling(limit, temperature, top_p, may_call)

    async def _forced_prefix(self, prompt: list[str], names: Sequence[str]) -> str:
        """The beginning of the call that has to come; of several tools the one that the model finds likeliest.

        It ends within the name's string: behind a quotation mark, other tokens would follow than in training.
        """
        prefixes = [f'{OPEN}{{"name": "{name}' for name in names]
        if len(prefixes) == 1:
            return prefixes[0]
        rows = [[*prompt, *self._tokens(prefix + '", "arguments": {}}')] for prefix in prefixes]
        scored = await asyncio.get_running_loop().run_in_executor(self._pool, self._generator.score_batch, rows)
        ends = [len(prompt) + len(self._tokens(prefix)) for prefix in prefixes]
        # log_probs[i] belongs to token i + 1; only the name's tokens are compared, and the one that ends it
        sums = [sum(row.log_probs[len(prompt) - 1 : end]) for row, end in zip(scored, ends, strict=True)]
        return prefixes[sums.index(max(sums))]

    def _tokens(self, text: str) -> list[str]:
        tokens: list[str] = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return tokens

    def _end_tokens(self, config: dict[str, Any]) -> list[str]:
        """Tokens that end a reply: those of generation_config.json, else CTranslate2's."""
        ids = self._defaults.get("eos_token_id")
        named = [
            self._tokenizer.id_to_token(one) for one in (ids if isinstance(ids, list) else [ids]) if one is not None
        ]
        return [token for token in named if token] or [str(config.get("eos_token") or "</s>")]


class _Stream:
    """One generation: pieces of text as they come, then None once; `async with` sees that it stops."""

    def __init__(self, chat: CTranslate2Chat, prompt: list[str], sampling: _Sampling) -> None:
        from tokenizers.decoders import DecodeStream

        self.tokens = 0
        """Tokens written so far, the end not counted."""
        self.finish_reason = "stop"
        self._chat = chat
        self._prompt = prompt
        self._sampling = sampling
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop = threading.Event()
        self._queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()

    async def __aenter__(self) -> _Stream:
        loop = asyncio.get_running_loop()
        self._chat._open += 1

        def put(item: int | Exception | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._queue.put_nowait, item)

        future = loop.run_in_executor(self._chat._pool, self._generate, put)
        future.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()

    def __aiter__(self) -> AsyncIterator[str | None]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[str | None]:
        ends = {self._chat._tokenizer.token_to_id(token) for token in self._chat._ends}
        while True:
            item = await self._queue.get()
            if isinstance(item, Exception):
                raise WorkerError(f"the language model failed: {item}") from item
            if item is None:
                yield None
                return
            if item in ends:
                continue
            self.tokens += 1
            if piece := self._decoder.step(self._chat._tokenizer, item):
                yield piece

    def _generate(self, put: Callable[[int | Exception | None], None]) -> None:
        sampling = self._sampling
        options: dict[str, Any] = {"sampling_topk": 1}
        if sampling.temperature > 0:
            options = {
                "sampling_topk": 0,
                "sampling_topp": sampling.top_p,
                "sampling_temperature": sampling.temperature,
            }
        if not sampling.may_call and self._chat._tokenizer.token_to_id(OPEN) is not None:
            options["suppress_sequences"] = [[OPEN]]

        def step(result: Any) -> bool:
            put(result.token_id)
            return self._stop.is_set()

        try:
            results = self._chat._generator.generate_batch(
                [self._prompt],
                max_length=sampling.max_tokens,
                end_token=self._chat._ends,
                include_prompt_in_result=False,
                return_end_token=True,
                callback=step,
                **options,
            )
            written = results[0].sequences[0]
            if len(written) >= sampling.max_tokens and written[-1] not in self._chat._ends:
                self.finish_reason = "length"
            put(None)
        except Exception as error:  # CTranslate2 raises bare RuntimeError and ValueError
            put(error)

    def _ended(self, _: object) -> None:
        self._chat._open -= 1


def without_oldest_turn(messages: Sequence[Message]) -> list[Message] | None:
    """The messages without the first user's turn and all that answered it; None where only one turn is left."""
    kept = 1 if messages and messages[0].get("role") in ("system", "developer") else 0
    users = [index for index, message in enumerate(messages) if index >= kept and message.get("role") == "user"]
    later = [index for index in users if index > kept]
    return [*messages[:kept], *messages[later[0] :]] if later else None


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
