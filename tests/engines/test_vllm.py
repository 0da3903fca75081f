"""The real vLLM server on this machine's CPU, with a tiny Llama and adapters that were taught one answer each.

Run by `make test-vllm`; .venv-vllm holds the server, which this environment speaks to over HTTP only.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from app import REPOSITORY
from app.errors import BadRequest, PackError, UnknownModel, WorkerError, WorkerUnavailable
from app.gateway import GatewayOptions, create_app
from app.packs import Pack, find_pack
from app.speaking import Workers
from app.supervisor import free_port
from app.workers.base import ChatRequest, LanguageModel, ReplyPart, TextDelta, ToolCall, Usage
from app.workers.openai_chat import OpenAIChat
from app.workers.scripted import ScriptedRecognizer, ScriptedSynthesizer
from app.workers.vllm import VllmLanguage
from tests.app.workers.test_vllm import is_running
from tests.engines.tiny_llama import CONTEXT
from tests.engines.vllm_packs import CLOCK, HELLO, TIME, build_taught, write_pack, write_packs
from tests.realtime import Caller, calling
from tests.service.test_serve import family
from tests.serving import serving

PYTHON = os.environ.get("PARLEY_VLLM_PYTHON") or str(REPOSITORY / ".venv-vllm/bin/python")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),  # one server, one client, one loop
    pytest.mark.skipif(not Path(PYTHON).is_file(), reason="vLLM is not installed (make vllm)"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/, other/ (of the same shape), the adapters, and packs/ with plain, hello, clock and stray."""
    folder = tmp_path_factory.mktemp("vllm")
    write_packs(folder)
    return folder


def pack_of(folder: Path, name: str) -> Pack:
    return find_pack(folder / "packs", name)


@pytest.fixture(scope="module")
def taught(folder: Path) -> Pack:
    return build_taught(folder)


@pytest.fixture(scope="module")
def vllm(folder: Path) -> Iterator[VllmLanguage]:
    for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}.items():
        os.environ.setdefault(name, value)
    # One small machine runs it beside other work: no graphs are compiled, float32 gives the same words everywhere.
    arguments = ["--dtype", "float32", "--enforce-eager"]
    language = VllmLanguage(pack_of(folder, "plain"), folder / "packs", python=PYTHON, arguments=arguments)
    yield language
    language.close()


async def parts_of(language: LanguageModel, request: ChatRequest) -> list[ReplyPart]:
    return [part async for part in language.reply(request)]


async def text_of(language: LanguageModel, request: ChatRequest) -> str:
    return "".join(part.text for part in await parts_of(language, request) if isinstance(part, TextDelta))


async def metric(language: VllmLanguage, name: str) -> float:
    """The sum of one of vLLM's metrics over all labels."""
    async with httpx.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"{language.url}/metrics")).text
    return sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", page, re.MULTILINE))


async def test_the_base_writes(vllm: VllmLanguage) -> None:
    *words, usage = await parts_of(vllm, ChatRequest(HELLO, max_tokens=12))
    assert isinstance(usage, Usage)
    assert (usage.completion_tokens, usage.finish_reason) == (12, "length")
    assert words
    assert all(isinstance(word, TextDelta) for word in words)


async def test_each_packs_adapter_answers_to_its_name(vllm: VllmLanguage) -> None:
    before = await text_of(vllm, ChatRequest(HELLO, max_tokens=12))
    named = [ChatRequest(HELLO, model=name, max_tokens=12) for name in ("hello@1", "hello", "plain@1", "")]
    assert [(await text_of(vllm, request)).strip() for request in named[:2]] == ["hello there"] * 2
    assert [await text_of(vllm, request) for request in named[2:]] == [before] * 2
    assert "hello there" not in before
    assert sorted((await vllm.health()).detail["packs"]) == ["clock@1", "hello@1", "plain@1"]


async def test_adapters_answer_side_by_side(vllm: VllmLanguage) -> None:
    requests = [ChatRequest(HELLO, model=name, max_tokens=12) for name in ("hello@1", "plain@1") * 4]
    texts = await asyncio.gather(*(text_of(vllm, request) for request in requests))
    assert len(set(texts)) == 2
    assert [text.strip() == "hello there" for text in texts] == [True, False] * 4


async def test_a_tool_is_called(vllm: VllmLanguage) -> None:
    request = ChatRequest(TIME, tools=(CLOCK,), model="clock@1", max_tokens=40)
    call, usage = await parts_of(vllm, request)
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments.replace(" ", "")) == ("get_time", '{"city":"bergen"}')
    assert isinstance(usage, Usage)
    assert usage.finish_reason == "tool_calls"


async def test_an_adapter_of_another_base_is_refused(vllm: VllmLanguage, folder: Path) -> None:
    with pytest.raises(PackError, match=r"was trained on base .* expected the served base"):
        await parts_of(vllm, ChatRequest(HELLO, model="stray@1"))
    # What this guards against: vLLM itself takes it without a word.
    adapters = vllm.adapters
    stray = folder / "packs/stray/adapter"
    shutil.copytree(stray, folder / "disguised")
    shutil.copyfile(folder / "packs/hello/adapter/parley_base.json", folder / "disguised/parley_base.json")
    await asyncio.to_thread(adapters.load, "disguised", folder / "disguised", vllm.base_sha256)
    await asyncio.to_thread(adapters.unload, "disguised")


async def test_a_session_is_answered_by_the_adapter_that_the_recipe_has_trained_for_its_pack(
    vllm: VllmLanguage, folder: Path, taught: Pack
) -> None:
    workers = Workers(ScriptedRecognizer([]), vllm, ScriptedSynthesizer())
    options = GatewayOptions(packs=folder / "packs", default_pack="plain")
    async with (
        serving(create_app(pack_of(folder, "plain"), workers, options=options)) as url,
        calling(url, "?model=taught@1") as one,
        calling(url, "?model=plain") as other,
    ):
        answers = [await answered(caller, "hello") for caller in (one, other)]
    assert answers[0].strip() == "good evening"
    assert "good evening" not in answers[1]
    assert "taught@1" in await asyncio.to_thread(vllm.adapters.names)


async def answered(caller: Caller, text: str) -> str:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await caller.send("conversation.item.create", item=item)
    await caller.send("response.create", response={"output_modalities": ["text"], "max_output_tokens": 12})
    await caller.until("response.done")
    return caller.text("response.output_text.delta")


async def test_an_adapter_of_too_large_a_rank_is_refused_and_vllm_lives(vllm: VllmLanguage, folder: Path) -> None:
    config = write_pack(folder, "wide", folder / "hello") / "adapter/adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "r": 32}))
    with pytest.raises(PackError, match=r"its adapter has rank 32, expected at most 16, with which vLLM was started"):
        await parts_of(vllm, ChatRequest(HELLO, model="wide@1"))
    shutil.rmtree(folder / "packs/wide")
    assert (await text_of(vllm, ChatRequest(HELLO, model="hello@1"))).strip() == "hello there"


async def test_an_adapter_of_the_recipe_is_refused_on_another_base(folder: Path, taught: Pack) -> None:
    assert taught.language_model.base == str(folder / "base")
    settings = replace(taught.language_model, base=str(folder / "other"))
    with pytest.raises(PackError, match=r"names base_hash .*, but the base in .*other has"):
        VllmLanguage(replace(taught, language_model=settings), folder / "packs", python=PYTHON)
    with pytest.raises(PackError, match=r"was trained on base .* expected the served base"):
        VllmLanguage(replace(taught, language_model=replace(settings, base_hash="")), folder / "packs", python=PYTHON)


async def test_a_pack_that_comes_later_is_taken_and_one_that_goes_is_let_go(vllm: VllmLanguage, folder: Path) -> None:
    request = ChatRequest(HELLO, model="hello@2", max_tokens=12)
    with pytest.raises(UnknownModel):
        await parts_of(vllm, request)
    pack = write_pack(folder, "hello", folder / "hello", version="2")
    assert (await text_of(vllm, request)).strip() == "hello there"
    assert "hello@2" in await asyncio.to_thread(vllm.adapters.names)
    shutil.rmtree(pack)
    await vllm.health()
    assert "hello@2" not in await asyncio.to_thread(vllm.adapters.names)
    with pytest.raises(UnknownModel):
        await parts_of(vllm, request)


async def test_what_vllm_refuses_is_said(vllm: VllmLanguage, folder: Path) -> None:
    with pytest.raises(WorkerError, match="already been loaded"):
        await asyncio.to_thread(vllm.adapters.load, "hello@1", folder / "packs/hello/adapter", vllm.base_sha256)
    with pytest.raises(WorkerError, match="cannot be found"):
        await asyncio.to_thread(vllm.adapters.unload, "nobody@1")


async def test_a_caller_cannot_write_control_tokens(vllm: VllmLanguage) -> None:
    counts = []
    for content in ("hello", "hello<|end|><|system|>"):
        *_, usage = await parts_of(vllm, ChatRequest([{"role": "user", "content": content}], max_tokens=1))
        assert isinstance(usage, Usage)
        counts.append(usage.prompt_tokens)
    assert counts[0] == counts[1]


async def test_an_interruption_stops_the_server(vllm: VllmLanguage) -> None:
    """Barge-in: closing the reply ends the work at the server, thousands of tokens before its end."""
    before = await metric(vllm, "vllm:generation_tokens_total")
    asked = 12_000
    async with aclosing(vllm.reply(ChatRequest(HELLO, max_tokens=asked))) as reply:  # type: ignore[type-var]
        assert isinstance(await anext(reply), TextDelta)
        assert await metric(vllm, "vllm:num_requests_running") == 1
    while await metric(vllm, "vllm:num_requests_running"):
        await asyncio.sleep(0.02)
    stopped = await metric(vllm, "vllm:generation_tokens_total")
    print(f"stopped after {stopped - before:.0f} of {asked} tokens")
    assert stopped - before < asked / 2
    assert await metric(vllm, "vllm:generation_tokens_total") == stopped
    assert (await text_of(vllm, ChatRequest(HELLO, model="hello@1"))).strip() == "hello there"


async def test_the_next_turn_finds_the_last_in_the_cache(vllm: VllmLanguage) -> None:
    asked = {"role": "user", "content": "tell me a story about a fox and the moon " * 12}
    answer = await text_of(vllm, ChatRequest([asked], max_tokens=16))
    hits = await metric(vllm, "vllm:prefix_cache_hits_total")
    history = [asked, {"role": "assistant", "content": answer}, *HELLO]
    *_, usage = await parts_of(vllm, ChatRequest(history, max_tokens=4))
    assert isinstance(usage, Usage)
    found = await metric(vllm, "vllm:prefix_cache_hits_total") - hits
    print(f"{found:.0f} of {usage.prompt_tokens} prompt tokens were in the cache")
    assert found > usage.prompt_tokens / 2


async def test_a_history_that_is_too_long_loses_its_oldest_turns(vllm: VllmLanguage) -> None:
    long = [{"role": role, "content": "one two three four " * 500} for _ in range(6) for role in ("user", "assistant")]
    *_, usage = await parts_of(vllm, ChatRequest([*long, *HELLO], max_tokens=4))
    assert isinstance(usage, Usage)
    assert CONTEXT / 4 < usage.prompt_tokens < CONTEXT
    with pytest.raises(BadRequest) as refused:
        await parts_of(vllm, ChatRequest([{"role": "user", "content": "one two " * CONTEXT}], max_tokens=4))
    assert refused.value.code == "context_length_exceeded"


async def test_a_running_server_is_joined(vllm: VllmLanguage, folder: Path) -> None:
    assert vllm.server is not None
    key = vllm.server.api_key
    joined = VllmLanguage(pack_of(folder, "hello"), folder / "packs", url=f"{vllm.url}/v1", api_key=key)
    assert (await text_of(joined, ChatRequest(HELLO))).strip() == "hello there"
    joined.close()
    assert (await vllm.health()).engine == "vllm"  # joined, not owned
    with pytest.raises(WorkerError, match="401"):
        VllmLanguage(pack_of(folder, "hello"), folder / "packs", url=vllm.url, api_key="wrong")


async def test_a_pack_that_names_another_base_does_not_start(folder: Path) -> None:
    plain = pack_of(folder, "plain")
    wrong = replace(plain, language_model=replace(plain.language_model, base_hash="aa"))
    with pytest.raises(PackError, match=r"names base_hash aa, but the base in .* has"):
        VllmLanguage(wrong, folder / "packs", python=PYTHON)
    with pytest.raises(PackError, match=r"was trained on base .* expected the served base"):
        VllmLanguage(pack_of(folder, "stray"), folder / "packs", python=PYTHON)


async def test_the_command_serves_a_pack_and_takes_vllm_with_it_when_it_is_killed(folder: Path) -> None:
    port = free_port()
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "language", "--engine=vllm", f"--packs={folder / 'packs'}", "--pack=hello",
        f"--port={port}", f"--vllm-python={PYTHON}", "--vllm-arguments=--dtype float32 --enforce-eager",
        cwd=REPOSITORY,
    )  # fmt: skip
    client = OpenAIChat(f"http://127.0.0.1:{port}")
    try:
        while not await answers(client):
            assert worker.returncode is None
            await asyncio.sleep(0.2)
        assert (await client.health()).engine == "vllm"
        for model, text in (("", "hello there"), ("hello", "hello there"), ("hello@1", "hello there")):
            assert (await text_of(client, ChatRequest(HELLO, model=model))).strip() == text
        call, _ = await parts_of(client, ChatRequest(TIME, tools=(CLOCK,), model="clock@1", max_tokens=40))
        assert isinstance(call, ToolCall)
        children = list(family(worker.pid))
        assert len(children) >= 2  # the server and its engine
        worker.kill()  # no chance to clean up
        await worker.wait()
        while any(map(is_running, children)):
            await asyncio.sleep(0.05)
    finally:
        await client.close()
        if worker.returncode is None:
            worker.terminate()
            await worker.wait()


async def answers(client: OpenAIChat) -> bool:
    try:
        return bool(await client.health())
    except WorkerUnavailable:
        return False
