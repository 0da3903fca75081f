"""Judges the exported language model through the engine that serves it, and writes what it finds. Trains nothing.

Decisions are taken on the dev split; the test split is what the evaluation card reports.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.workers.base import ChatRequest, TextDelta, ToolCall, Usage
from app.workers.chat import CTranslate2Chat
from finetune.measure import proportion_interval
from finetune.starter import language_cases as cases
from finetune.starter.domain import Split
from finetune.starter.domain_outside import HONEST
from finetune.starter.language_cases import Case

COUNT: Final = 300
"""Cases of each kind; a 95 % interval is then at most 11 points wide."""
CONTEXT_TOKENS: Final = 768


@dataclass(frozen=True)
class Question:
    """A figure of the card: cases, when a reply to one is right, and the share in per cent that is asked for."""

    metric: str
    asked: Sequence[Case]
    right: Callable[[Case, Reply], bool]
    gate: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Reply:
    """What the model said to a case."""

    text: str
    calls: tuple[ToolCall, ...]
    first_seconds: float
    seconds: float
    tokens: int


def evaluate(run: Path, pack: Path, split: Split = "test", *, count: int = COUNT) -> list[dict[str, Any]]:
    """Asks everything, prints what went wrong, and writes RUN/evaluation.json (evaluation.dev.json for dev)."""
    results = asyncio.run(_evaluate(pack / "language", split, count))
    path = run / ("evaluation.json" if split == "test" else f"evaluation.{split}.json")
    path.write_text(json.dumps(results, indent=2) + "\n")
    for result in results:
        gate = result["gate"]
        verdict = (
            "" if gate is None else f"  gate {gate['op']} {gate['value']}: {'met' if result['passed'] else 'MISSED'}"
        )
        low, high = result["interval"] or (float("nan"), float("nan"))
        print(f"{result['metric']}: {result['value']} {result['unit']} (n {result['n']}, {low} to {high}){verdict}")
    return results


def questions(split: Split, count: int) -> list[Question]:
    """Everything that is asked of the model, in the order of the card."""
    kept_out = "sentences kept out of training"
    copies = cases.tool_calls(split, 2 * count, kept_out_share=1.0, seed=2)
    cities = [case for case in copies if "city" in case.values][:count]
    numbers = [case for case in copies if "number" in case.values][:count]
    names = cases.names(split, count)
    generated, real = cases.outside_generated(split, count), cases.outside_open(split)
    both = f"{kept_out}: {len(generated)} generated, {len(real)} of real people"
    unseen, invented = "names kept out of training", "invented tools, declared beside the service's"
    return [
        Question(
            "exact tool calls", cases.tool_calls(split, count), exact_call, 95.0, f"{kept_out}, and half the values"
        ),
        Question("argument copy", [*cities, *numbers, *names], copied, 90.0, "values kept out of training"),
        Question("argument copy, cities", cities, copied),
        Question("argument copy, numbers", numbers, copied),
        Question("argument copy, names", names, copied),
        Question(
            "caller's name recalled", cases.recalls(split, count), says, 80.0, f"after 1 to 4 other turns; {unseen}"
        ),
        Question("honest answers outside of the domain", [*generated, *real], honest, 90.0, both),
        Question("honest answers, generated requests", generated, honest),
        Question("honest answers, requests of real people", real, honest, None, "SLURP, ChatterBot, Taskmaster"),
        Question(
            "small talk answered", cases.talk(split, count), no_refusal, None, "neither refused nor taken for a tool"
        ),
        Question("assistant's name from the instructions", cases.assistant_names(split, count), says, None, unseen),
        Question("exact calls of a client's tools", cases.client_calls(split, count), exact_call, None, invented),
        Question(
            "words spelled",
            cases.spellings(split, count),
            exact_call,
            None,
            "the tool called with the word; half of the words kept out",
        ),
        Question("tool results spoken", cases.tool_results(split, count), tells, None, "every value of the result"),
    ]


async def _evaluate(folder: Path, split: Split, count: int) -> list[dict[str, Any]]:
    chat = CTranslate2Chat(folder, context_tokens=CONTEXT_TOKENS, threads=1)
    results: list[dict[str, Any]] = []
    replies: dict[Case, Reply] = {}  # some cases count for two figures
    for question in questions(split, count):
        wrong = []
        for case in question.asked:
            if case not in replies:
                replies[case] = await ask(chat, case)
            reply = replies[case]
            if not question.right(case, reply):
                said = reply.text or str([(call.name, call.arguments) for call in reply.calls])
                wrong.append(f"    {case.messages[-1]['content']!r} -> {said[:200]!r}")
        n = len(question.asked)
        print("\n".join([f"{question.metric}: {len(wrong)} of {n} wrong", *wrong[:8]]), flush=True)
        if n:
            results.append(share_row(question.metric, n - len(wrong), n, question.gate, question.note))
    chat.close()
    note = "one thread, whatever else the machine was doing"
    first = 1000 * statistics.median(reply.first_seconds for reply in replies.values())
    results.append(_row("first token, median", first, "ms", len(replies), note))
    rate = sum(reply.tokens for reply in replies.values()) / sum(reply.seconds for reply in replies.values())
    results.append(_row("tokens per second", rate, "1/s", len(replies), note))
    return results


async def ask(chat: CTranslate2Chat, case: Case) -> Reply:
    """The model's reply to a case, greedy."""
    began = time.perf_counter()
    first, tokens, text = 0.0, 0, ""
    calls: list[ToolCall] = []
    async for part in chat.reply(ChatRequest(case.messages, tools=case.tools, temperature=0.0)):
        first = first or time.perf_counter() - began
        match part:
            case TextDelta():
                text += part.text
            case ToolCall():
                calls.append(part)
            case Usage():
                tokens = part.completion_tokens
    return Reply(text, tuple(calls), first, time.perf_counter() - began, tokens)


def exact_call(case: Case, reply: Reply) -> bool:
    """One call, of the right tool, with exactly the right arguments, and nothing said."""
    if len(reply.calls) != 1 or reply.text.strip():
        return False
    return reply.calls[0].name == case.tool and json.loads(reply.calls[0].arguments) == case.arguments


def copied(case: Case, reply: Reply) -> bool:
    """Every kept-out value arrived: as an argument, or in the reply where no call is expected."""
    if not case.tool:
        return says(case, reply)
    given = [value for call in reply.calls for value in json.loads(call.arguments).values()]
    return all(value in given for value in case.values.values())


def says(case: Case, reply: Reply) -> bool:
    """The reply has the expected words, whole."""
    return f" {case.reply} " in f" {reply.text.translate(str.maketrans('.,!?', '    '))} "


def honest(_: Case, reply: Reply) -> bool:
    """The reply says what the assistant knows, and calls nothing."""
    return HONEST in reply.text and not reply.calls


def no_refusal(_: Case, reply: Reply) -> bool:
    """The reply is in words and does not plead ignorance."""
    return HONEST not in reply.text and not reply.calls


def tells(case: Case, reply: Reply) -> bool:
    """The reply has every value of a tool's result."""
    return all(value in reply.text for value in case.values.values())


def share_row(metric: str, right: int, n: int, gate: float | None, note: str) -> dict[str, Any]:
    """One line of the evaluation: a share in per cent with its 95 % Wilson interval."""
    low, high = proportion_interval(right, n)
    row = _row(metric, 100 * right / max(1, n), "%", n, note)
    row["interval"] = [round(100 * low, 1), round(100 * high, 1)]
    if gate is not None:
        row["gate"], row["passed"] = {"op": ">=", "value": gate}, 100 * right >= gate * n
    return row


def _row(metric: str, value: float, unit: str, n: int, note: str = "") -> dict[str, Any]:
    return {
        "part": "language", "metric": metric, "value": round(value, 1), "unit": unit, "n": n, "n_unit": "requests",
        "interval": None, "gate": None, "passed": None, "note": note,
    }  # fmt: skip
