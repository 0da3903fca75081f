"""Replies are asked for as a session asks, with what was heard in place of what was said; likelihood by the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.errors import BadRequest
from app.workers import connect
from app.workers.base import ChatRequest
from app.workers.scripted import ScriptedLanguage
from finetune.data.kept import Kept
from finetune.data.rows import Dialogue, Turn
from finetune.evaluate.replying import Replied, Scoring, reply
from finetune.evaluate.speaking import close
from tests.packs import SCRIPTED, starter

DIALOGUE = Dialogue(
    "d", "en",
    (
        Turn("user", "hello"), Turn("assistant", "Hi!"),
        Turn("user", "Set a timer!"), Turn("assistant", "For how long?"),
    ),
    "test", "CC0-1.0", "test",
)  # fmt: skip


async def replies(model: ScriptedLanguage, folder: Path) -> list[Replied]:
    """Of both turns, with what was heard of the second."""
    with Kept(folder / "kept.jsonl") as kept:
        return await reply(model, SCRIPTED, [DIALOGUE], {"set a timer": "set a time"}, kept, "weights")


async def test_the_last_words_are_those_heard_and_the_turns_before_are_right(tmp_path: Path) -> None:
    model = ScriptedLanguage(["Hello!", "What?"])
    first, second = await replies(model, tmp_path)
    system = {"role": "system", "content": "Be brief."}
    hello, hi = {"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hi!"}
    assert [list(request.messages) for request in model.requests] == [
        [system, hello],
        [system, hello, hi, {"role": "user", "content": "set a time"}],
    ]
    assert [tool["function"]["name"] for tool in model.requests[0].tools] == list(SCRIPTED.language_model.tools)
    assert model.requests[0].temperature == 0
    assert (first.served, first.said, first.text, first.nats) == (False, "hello", "Hello!", None)
    assert (second.served, second.said, second.gold) == (True, "set a time", "For how long?")
    assert await replies(ScriptedLanguage([]), tmp_path) == [first, second]  # kept: nothing is asked again


async def test_the_embedded_engine_tells_how_likely_a_reply_is() -> None:
    model = connect.load_language(starter())
    assert isinstance(model, Scoring)
    request = ChatRequest([{"role": "user", "content": "hello"}], temperature=0.0)
    usual, tokens = await model.log_probability(request, await _written(model, request))
    odd, _ = await model.log_probability(request, "timers kitchen seventeen of of")
    assert odd < usual < 0
    assert tokens > 1
    with pytest.raises(BadRequest, match="the reply has 0 tokens"):
        await model.log_probability(request, "")
    close(model)


async def _written(model: object, request: ChatRequest) -> str:
    parts: AsyncIterator[object] = model.reply(request)  # type: ignore[attr-defined]
    return "".join([getattr(part, "text", "") async for part in parts])
