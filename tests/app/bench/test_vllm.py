"""The logic of `parley bench vllm`, with scripted language models behind real HTTP."""

from __future__ import annotations

import argparse

import pytest

from app.access import Access
from app.bench import vllm
from app.bench.vllm import Timed, compared
from app.errors import BadRequest, WorkerError
from app.workers.base import ChatRequest
from app.workers.openai_chat import OpenAIChat
from app.workers.scripted import ScriptedLanguage
from app.workers.server import language_app
from tests.serving import serving


def test_the_gateway_is_compared_with_the_direct_way() -> None:
    found = {
        "direct": [Timed(10.0, 100.0, 5), Timed(20.0, 120.0, 5), Timed(90.0, 900.0, 5)],
        "gateway": [Timed(12.0, 110.0, 5), Timed(25.0, 150.0, 5), Timed(30.0, 160.0, 8)],
    }
    direct, gateway = compared(3, found)
    assert (direct["callers"], direct["way"], direct["first_token_p50_ms"], direct["reply_p50_ms"]) == (
        3,
        "direct",
        20,
        120,
    )
    assert (gateway["first_token_added_ms"], gateway["first_token_added_percent"]) == (5, 25)
    assert (gateway["reply_added_ms"], gateway["reply_added_percent"], gateway["tokens"]) == (30, 25, 6)


async def test_every_caller_asks_both_ways() -> None:
    served = {way: ScriptedLanguage(["Once upon a time."] * 9) for way in vllm.WAYS}
    async with (
        serving(language_app(served["direct"], access=Access(), model="a")) as direct,
        serving(language_app(served["gateway"], access=Access(), model="a")) as gateway,
    ):
        chats = {"direct": OpenAIChat(direct), "gateway": OpenAIChat(gateway)}
        report = await vllm.bench(chats, [1, 3], 2, 8, {"server": "scripted"})
        for chat in chats.values():
            await chat.close()
    assert [(row["callers"], row["way"]) for row in report.rows] == [
        (1, "direct"), (1, "gateway"), (3, "direct"), (3, "gateway")
    ]  # fmt: skip
    assert [len(language.requests) for language in served.values()] == [9, 9]  # one before, 2, and 2 of 3


async def test_a_reply_without_words_is_no_measurement() -> None:
    async with serving(language_app(ScriptedLanguage([""]), access=Access(), model="a")) as url:
        chat = OpenAIChat(url)
        with pytest.raises(WorkerError, match="has no words"):
            await vllm.timed(chat, ChatRequest([{"role": "user", "content": "hello"}]))
        await chat.close()


@pytest.mark.parametrize(
    "line", ["--callers 0", "--callers few", "--replies 0", "--tokens 0", "--url http://example.com"]
)
def test_what_makes_no_sense_is_refused(line: str) -> None:
    parser = argparse.ArgumentParser()
    vllm.add_arguments(parser)
    with pytest.raises(BadRequest, match="expected"):
        vllm.run(parser.parse_args(line.split()))
