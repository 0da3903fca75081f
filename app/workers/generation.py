"""Prompt tokens to streamed text: CTranslate2's generator and a tokenizer. Knows no messages, templates or tools.

Every generation runs on a thread of its own; leaving its `async with` stops it at the next token.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from app.errors import PackError, WorkerError
from app.workers.repetition import LONGEST, loops

MAX_FIXED_PROMPTS: Final = 8
"""Beginnings of prompts whose attention states are kept; CTranslate2 never forgets one, and each costs memory."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen."""

    max_tokens: int
    temperature: float = 0.0
    """0: always the likeliest token."""
    top_p: float = 1.0
    suppressed: str = ""
    """A token that may not come."""


class TextGenerator:
    """The model in a folder, with as many generations side by side as `slots`."""

    def __init__(self, path: Path, *, device: str, compute_type: str, threads: int, slots: int) -> None:
        """Loads the weights; `threads` is per generation. Raises PackError."""
        import ctranslate2
        from tokenizers import Tokenizer

        try:
            self._generator = ctranslate2.Generator(
                str(path), device=device, compute_type=compute_type, inter_threads=slots, intra_threads=threads
            )
            self.tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            defaults = path / "generation_config.json"
            self.defaults: dict[str, Any] = json.loads(defaults.read_text("utf-8")) if defaults.is_file() else {}
        except Exception as error:  # both libraries raise bare RuntimeError, ValueError or Exception
            raise PackError(f"{path} cannot be loaded as a chat model: {error}") from error
        self.bos_token = str(config.get("bos_token") or "")
        self.ends = self._end_tokens(config)
        """Tokens that end a reply."""
        self._running: set[Generation] = set()
        self._fixed: set[tuple[str, ...]] = set()
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="chat")
        atexit.register(_close, weakref.ref(self))

    @property
    def open(self) -> int:
        """Generations whose text somebody still waits for; one that was left ends within a token."""
        return len(self._running)

    def close(self) -> None:
        """Ends the engine's threads; the object is of no use afterwards."""
        self._pool.shutdown()
        del self._generator

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text; special ones only where the text has them."""
        tokens: list[str] = self.tokenizer.encode(text, add_special_tokens=False).tokens
        return tokens

    async def log_probabilities(self, rows: Sequence[Sequence[str]]) -> list[list[float]]:
        """Of each row's tokens but the first, given those before it."""
        scored = await asyncio.get_running_loop().run_in_executor(self._pool, self._generator.score_batch, rows)
        return [list(row.log_probs) for row in scored]

    def stream(self, prompt: Sequence[str], sampling: Sampling, *, fixed: int = 0) -> Generation:
        """A generation that begins with `async with`; the first `fixed` tokens will come again in later prompts.

        Their states are kept: with 290 tokens of instructions the first token comes after 3.5 ms of work, not 23.
        """
        beginning = tuple(prompt[:fixed])
        if fixed and beginning not in self._fixed and len(self._fixed) < MAX_FIXED_PROMPTS:
            self._fixed.add(beginning)
        return Generation(self, list(prompt), sampling, fixed if beginning in self._fixed else 0)

    def run(self, prompt: list[str], fixed: int, sampling: Sampling, put: Callable[[int], bool]) -> list[str]:
        """Generates, giving each token to `put`, which ends it by True; blocks. The tokens, with the end."""
        options: dict[str, Any] = {"sampling_topk": 1}
        if sampling.temperature > 0:
            options = {"sampling_topk": 0, "sampling_topp": sampling.top_p}
            options["sampling_temperature"] = sampling.temperature
        if sampling.suppressed:
            options["suppress_sequences"] = [[sampling.suppressed]]
        if fixed:
            options |= {"static_prompt": prompt[:fixed], "cache_static_prompt": True}
        results = self._generator.generate_batch(
            [prompt[fixed:]],
            max_length=sampling.max_tokens,
            end_token=self.ends,
            include_prompt_in_result=False,
            return_end_token=True,
            callback=lambda step: put(step.token_id),
            **options,
        )
        written: list[str] = results[0].sequences[0]
        return written

    def _end_tokens(self, config: dict[str, Any]) -> list[str]:
        """Those of generation_config.json, else CTranslate2's."""
        ids = self.defaults.get("eos_token_id")
        named = [
            self.tokenizer.id_to_token(one) for one in (ids if isinstance(ids, list) else [ids]) if one is not None
        ]
        return [token for token in named if token] or [str(config.get("eos_token") or "</s>")]


class Generation:
    """One generation: text as it comes, then None once."""

    def __init__(self, model: TextGenerator, prompt: list[str], sampling: Sampling, fixed: int) -> None:
        from tokenizers.decoders import DecodeStream

        self.tokens = 0
        """Tokens written so far, the end not counted."""
        self.finish_reason = "stop"
        """`length` where max_tokens ended it."""
        self.looped = False
        """It was ended because it said the same again and again."""
        self._model = model
        self._prompt = prompt
        self._sampling = sampling
        self._fixed = fixed
        self._new_decoder = partial(DecodeStream, skip_special_tokens=True)
        self._decoder = self._new_decoder()
        self._stop = threading.Event()
        self._queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()

    async def __aenter__(self) -> Generation:
        loop, queue = asyncio.get_running_loop(), self._queue
        self._model._running.add(self)

        def put(item: int | Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(queue.put_nowait, item)

        loop.run_in_executor(self._model._pool, self._run, put)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        self._model._running.discard(self)

    async def __aiter__(self) -> AsyncIterator[str | None]:
        ends = {self._model.tokenizer.token_to_id(token) for token in self._model.ends}
        while True:
            text, item = "", await self._queue.get()
            # Tokens that came while nobody looked are one piece: on a busy machine, passing on costs more than writing.
            while isinstance(item, int):
                if item not in ends:
                    self.tokens += 1
                    text += self._decoded(item) or ""
                if self._queue.empty():
                    break
                item = self._queue.get_nowait()
            if text:
                yield text
            if isinstance(item, Exception):
                raise WorkerError(f"the language model failed: {item}") from item
            if item is None:
                yield None
                return

    def _decoded(self, token: int) -> str | None:
        """The text that is certain now; None while a character is not complete. Bytes that are no UTF-8 are dropped."""
        try:
            piece: str | None = self._decoder.step(self._model.tokenizer, token)
        except Exception:  # bare: a token has changed what stood before it, which only nonsense does
            self._decoder, piece = self._new_decoder(), None
        return piece.replace("\ufffd", "") if piece else piece

    def _run(self, put: Callable[[int | Exception | None], None]) -> None:
        stop = self._stop
        recent: deque[int] = deque(maxlen=LONGEST)

        def step(
            token: int,
        ) -> bool:  # holds no model: a thread of CTranslate2 that drops the last one waits for itself
            put(token)
            recent.append(token)
            return stop.is_set() or loops(recent)

        last: Exception | None = None
        if stop.is_set():  # left before its turn came
            return
        try:
            written = self._model.run(self._prompt, self._fixed, self._sampling, step)
            self.looped = loops(recent)
            if len(written) >= self._sampling.max_tokens and written[-1] not in self._model.ends:
                self.finish_reason = "length"
        except Exception as error:  # CTranslate2 raises bare RuntimeError and ValueError
            last = error
        put(last)


def _close(reference: weakref.ref[TextGenerator]) -> None:
    """At exit: a thread of CTranslate2 that outlives the interpreter aborts the process when it drops its callback."""
    model = reference()
    if model is not None and hasattr(model, "_generator"):
        model.close()
