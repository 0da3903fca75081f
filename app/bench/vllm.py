"""`parley bench vllm`: replies of a language server, asked directly and through the gateway: what the gateway adds.

The same requests in turn over both ways, so that a machine that is busy for a while slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app import REPOSITORY
from app.bench.report import Cell, Report
from app.bench.service import check_loopback
from app.errors import BadRequest, ParleyError, WorkerError, WorkerUnavailable
from app.supervisor import VLLM_START_SECONDS, free_port
from app.workers.base import ChatRequest, TextDelta, Usage
from app.workers.openai_chat import OpenAIChat

QUESTION = "tell me a story"
NOBODY = "http://127.0.0.1:9"  # the discard port: the gateway under test needs neither recognizer nor synthesizer
WAYS = ("direct", "gateway")


@dataclass(frozen=True, slots=True)
class Timed:
    """One reply."""

    first_token_ms: float
    reply_ms: float
    tokens: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley bench vllm`."""
    parser.add_argument("--url", default="", help="a chat server on this machine, such as vLLM [one is started]")
    parser.add_argument("--model", default="", help="its name for the model [its own]")
    parser.add_argument(
        "--engine", default="vllm", help="of the language worker that is started; empty: embedded [vllm]"
    )
    parser.add_argument("--pack", default="en-starter", help="which that worker serves [en-starter]")
    parser.add_argument("--packs", type=Path, default=REPOSITORY / "models" / "packs", help="folder of the packs")
    parser.add_argument("--vllm-arguments", default="", help="more arguments of vLLM's server")
    parser.add_argument("--callers", default="1,4", help="how many at once, one number after the other [1,4]")
    parser.add_argument("--replies", type=int, default=12, help="that each caller asks for, each way [12]")
    parser.add_argument("--tokens", type=int, default=32, help="longest reply [32]")


def run(args: argparse.Namespace) -> Report:
    """Benches. The server's key is PARLEY_LANGUAGE_KEY's. Raises BadRequest, WorkerError."""
    try:
        counts = [int(count) for count in args.callers.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or args.replies < 1 or args.tokens < 1:
        raise BadRequest(f"got callers {args.callers!r}, expected numbers of at least 1; so for replies and tokens")
    if args.url:
        check_loopback(args.url)
    return asyncio.run(_run(args, counts))


async def _run(args: argparse.Namespace, counts: Sequence[int]) -> Report:
    key = os.environ.get("PARLEY_LANGUAGE_KEY", "")
    served = {"server": args.url} if args.url else {"server": f"{args.engine or 'embedded'} {args.pack}"}
    language = ["language", f"--engine={args.engine}", f"--pack={args.pack}", f"--packs={args.packs}"]
    async with contextlib.AsyncExitStack() as started:
        url = args.url or await started.enter_async_context(
            _process([*language, f"--vllm-arguments={args.vllm_arguments}"])
        )
        workers = [f"--language={url}", f"--recognizer={NOBODY}", f"--synthesizer={NOBODY}"]
        named = [f"--language-model={args.model}"] if args.model else []
        pack = [] if args.url else [f"--pack={args.pack}", f"--packs={args.packs}"]
        gateway = await started.enter_async_context(_process(["gateway", *workers, *named, *pack]))
        chats = {"direct": OpenAIChat(url, api_key=key, model=args.model), "gateway": OpenAIChat(gateway)}
        for chat in chats.values():
            started.push_async_callback(chat.close)
        configuration = {**served, "replies": args.replies, "max_tokens": args.tokens, "question": QUESTION}
        return await bench(chats, counts, args.replies, args.tokens, configuration)


async def bench(
    chats: dict[str, OpenAIChat], counts: Sequence[int], replies: int, tokens: int, configuration: dict[str, Cell]
) -> Report:
    """Asks both ways with each number of callers. Raises WorkerError, and BadRequest if the server does."""
    request = ChatRequest([{"role": "user", "content": QUESTION}], max_tokens=tokens, temperature=0.0)
    for chat in chats.values():  # what is compiled or cached at the first request is not the gateway's doing
        await timed(chat, request)
    rows: list[dict[str, Cell]] = []
    for callers in counts:
        found: dict[str, list[Timed]] = {way: [] for way in WAYS}
        for turn in range(replies):
            for way in WAYS if turn % 2 else reversed(WAYS):
                found[way] += await asyncio.gather(*(timed(chats[way], request) for _ in range(callers)))
        rows += compared(callers, found)
    return Report("vllm", configuration, rows, notes=NOTES, drawn=("first_token_p50_ms", "reply_p50_ms"))


NOTES = (
    "added: how much later the middle one of the replies came through the gateway, in milliseconds and percent.",
    "Where that is less than the replies differ among themselves (p95 - p50), read it as none.",
)


async def timed(chat: OpenAIChat, request: ChatRequest) -> Timed:
    """One reply over one way. Raises WorkerError also for a reply without words."""
    started = time.perf_counter()
    first = 0.0
    usage = Usage()
    async for part in chat.reply(request):
        if isinstance(part, TextDelta) and not first:
            first = time.perf_counter() - started
        elif isinstance(part, Usage):
            usage = part
    if not first:
        raise WorkerError(f"the reply to {QUESTION!r} has no words, expected some to measure")
    return Timed(1000 * first, 1000 * (time.perf_counter() - started), usage.completion_tokens)


def compared(callers: int, found: dict[str, list[Timed]]) -> list[dict[str, Cell]]:
    """A row a way; the gateway's says what it adds to the direct one's medians."""
    rows: list[dict[str, Cell]] = []
    for way in WAYS:
        row: dict[str, Cell] = {"callers": callers, "way": way}
        for name in ("first_token", "reply"):
            values = [getattr(reply, f"{name}_ms") for reply in found[way]]
            row[f"{name}_p50_ms"] = statistics.median(values)
            row[f"{name}_p95_ms"] = float(np.percentile(values, 95))
        row["tokens"] = round(statistics.mean(reply.tokens for reply in found[way]), 1)
        rows.append(row)
    direct, gateway = rows
    for name in ("first_token", "reply"):
        before, after = (float(row[f"{name}_p50_ms"]) for row in (direct, gateway))
        gateway[f"{name}_added_ms"] = after - before
        gateway[f"{name}_added_percent"] = 100 * (after - before) / before
    return rows


@contextlib.asynccontextmanager
async def _process(arguments: Sequence[str]) -> AsyncIterator[str]:
    """A process of the service on a free port; gives its URL once it lists models. Raises WorkerUnavailable."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "app", *arguments, f"--port={port}", "--log-level=error"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(VLLM_START_SECONDS):
            while not await _answers(url, arguments[0]):
                if process.returncode is not None:
                    raise WorkerUnavailable(f"parley {arguments[0]} ended before it was ready; its log is above")
                await asyncio.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answers(url: str, command: str) -> bool:
    import httpx

    path = "/v1/models" if command == "gateway" else "/health"  # the gateway's health is that of all its workers
    with contextlib.suppress(httpx.HTTPError, ParleyError):
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(url + path)).is_success
    return False
