"""Replies that never end: a phrase over and over is seen, what merely repeats is not, and a reply is ended by it."""

from __future__ import annotations

import itertools
from collections import deque

import pytest

from app import REPOSITORY
from app.packs import find_pack
from app.tools import schemas
from app.workers.base import ChatRequest, ReplyPart, TextDelta, Usage
from app.workers.chat import CTranslate2Chat
from app.workers.repetition import CYCLE, LONGEST, loops


@pytest.mark.parametrize("cycle", [1, 2, 3, 5, CYCLE])
def test_a_phrase_over_and_over_is_seen_within_forty_tokens(cycle: int) -> None:
    recent: deque[int] = deque([100, 101, 102], maxlen=LONGEST)
    phrase = itertools.cycle(range(cycle))
    count = 0
    while not loops(recent):
        recent.append(next(phrase))
        count += 1
    assert count == max(20, 5 * cycle)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [7] * 19,  # ha ha ha
        [1, *[2] * 15, 3],  # 1,000,000,000,000,000
        list(range(40)),  # counting
        [1, 2, 3, 4, 5, 6] * 4,  # a refrain, and again
        [9] * 30 + [1],  # it has found its way again
        [1, 2, 3, 4, 5, 6, 7, 8, 9] * 5,  # a phrase longer than those looked for
    ],
)
def test_what_merely_repeats_is_left_alone(tokens: list[int]) -> None:
    assert not loops(tokens)


async def test_a_reply_that_lost_its_way_is_ended_and_a_call_is_not_passed_on() -> None:
    pack = find_pack(REPOSITORY / "models" / "packs", "en-starter")
    if not (pack.language_folder / "model.bin").is_file():
        pytest.skip("the starter pack has no language model (make starter-language)")
    chat = CTranslate2Chat(pack.language_folder, device="cpu", context_tokens=768, max_tokens=256)
    question = [
        {"role": "system", "content": pack.language_model.prompt},
        {"role": "user", "content": "how is the weather in is is oslo"},  # after which this model writes ischchchch
    ]
    parts: list[ReplyPart] = [
        part async for part in chat.reply(ChatRequest(question, tools=schemas(pack.language_model.tools)))
    ]
    chat.close()
    *said, usage = parts
    assert said
    assert all(isinstance(part, TextDelta) for part in said)
    assert isinstance(usage, Usage)
    assert usage.finish_reason == "stop"
    assert usage.completion_tokens < 128
