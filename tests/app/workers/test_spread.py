"""A stage behind several URLs, with real servers over sockets: load, a dead one, a full one, a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace

import pytest

from app.access import Access
from app.errors import WorkerBusy, WorkerError, WorkerUnavailable, WrongBase
from app.reply import close
from app.supervisor import free_port
from app.workers.base import ChatRequest, Health, LanguageModel, Recognizer, ReplyPart, TextDelta
from app.workers.connect import reach_language, reach_recognizer, reach_synthesizer
from app.workers.places import FIRST_REST_SECONDS, LONGEST_REST_SECONDS, Places, nobody
from app.workers.remote import RemoteRecognizer
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from app.workers.server import language_app, recognizer_app, synthesizer_app
from app.workers.spread_recognizer import SpreadRecognizer
from tests.serving import serving
from tests.sounds import silence

SECOND = silence(1.0, 16_000)
DEAD, GONE = "http://127.0.0.1:1", "http://127.0.0.1:2"  # privileged ports: no test can be given one of them
HELLO = ChatRequest(messages=[{"role": "user", "content": "hello"}])


@dataclass
class Farm:
    """Several recognizer workers on loopback."""

    recognizers: list[ScriptedRecognizer]
    urls: list[str] = field(default_factory=list)
    servers: list[AsyncExitStack] = field(default_factory=list)

    async def kill(self, index: int) -> None:
        """Ends one worker with everything under way."""
        await self.servers[index].aclose()


@pytest.fixture
async def farm() -> AsyncIterator[Farm]:
    farm = Farm([ScriptedRecognizer([name], repeat=True, slots=2) for name in ("first one", "second one")])
    for recognizer in farm.recognizers:
        stack = AsyncExitStack()
        app = recognizer_app(recognizer, access=Access(), model="scripted")
        farm.urls.append(await stack.enter_async_context(serving(app)))
        farm.servers.append(stack)
    yield farm
    for stack in farm.servers:
        await stack.aclose()


async def test_work_goes_to_whom_has_least_and_only_a_full_farm_refuses(farm: Farm) -> None:
    stage = reach_recognizer(",".join(farm.urls))
    recognitions = [await stage.start() for _ in range(4)]
    assert [recognizer.open for recognizer in farm.recognizers] == [2, 2]
    with pytest.raises(WorkerBusy, match="none of 2 workers has room"):
        await stage.start()
    await recognitions[1].abort()
    await free(farm.recognizers[1])
    assert (await (await stage.start()).finish()).text == "second one"
    for recognition in recognitions:
        await recognition.abort()


async def test_a_dead_url_is_gone_round(farm: Farm) -> None:
    stage = reach_recognizer(f"{DEAD}, {farm.urls[0]}")
    for _ in range(3):
        assert (await (await stage.start()).finish()).text == "first one"
    health = await seen_well(stage, farm.urls[0])
    assert health.engine == "scripted"
    down = health.detail["urls"][DEAD]
    assert down["state"] == "down"
    assert DEAD in down["error"]


async def test_a_dead_url_that_comes_back_is_asked_again(farm: Farm) -> None:
    now = [0.0]
    port = free_port()
    back = f"http://127.0.0.1:{port}"
    stage = SpreadRecognizer({url: RemoteRecognizer(url) for url in (back, farm.urls[0])}, clock=lambda: now[0])
    assert (await (await stage.start()).finish()).text == "first one"
    app = recognizer_app(ScriptedRecognizer(["back again"], repeat=True), access=Access(), model="scripted")
    async with serving(app, port=port):
        assert (await (await stage.start()).finish()).text == "first one"  # it rests
        now[0] = FIRST_REST_SECONDS
        assert (await (await stage.start()).finish()).text == "back again"
    assert (await (await stage.start()).finish()).text == "first one"
    async with serving(app, port=port):
        await seen_well(stage, back)
        assert (await (await stage.start()).finish()).text == "back again"


async def test_nobody_alive_is_said_of_every_url() -> None:
    stage = reach_recognizer(f"{DEAD},{GONE}")
    with pytest.raises(WorkerUnavailable, match="none of 2 workers answers") as refused:
        await stage.start()
    assert f"{DEAD}: " in refused.value.message
    with pytest.raises(WorkerUnavailable):
        await stage.health()


async def test_an_utterance_survives_its_worker(farm: Farm) -> None:
    stage = reach_recognizer(",".join(farm.urls))
    recognition = await stage.start()
    recognition.feed(SECOND)
    hypotheses = recognition.hypotheses()
    assert await anext(hypotheses) == "first one"
    await farm.kill(0)
    assert await anext(hypotheses) == "second one"  # of the frames fed before the loss
    recognition.feed(SECOND)
    transcript = await recognition.finish()
    await close(hypotheses)
    assert (transcript.text, transcript.seconds) == ("second one", 2.0)
    assert farm.recognizers[1].heard == [SECOND + SECOND]


async def test_a_worker_lost_at_the_end_of_an_utterance_costs_no_words(farm: Farm) -> None:
    stage = reach_recognizer(",".join(farm.urls))
    recognition = await stage.start(language="en", hot_words="Parley")
    recognition.feed(SECOND)
    await farm.kill(0)
    assert (await recognition.finish()).text == "second one"
    assert farm.recognizers[1].asked[0]["hot_words"] == "Parley"
    await free(farm.recognizers[1])


async def test_an_utterance_is_replayed_once(farm: Farm) -> None:
    stage = reach_recognizer(",".join(farm.urls))
    recognition = await stage.start()
    recognition.feed(SECOND)
    hypotheses = recognition.hypotheses()
    await anext(hypotheses)
    await farm.kill(0)
    await anext(hypotheses)
    await farm.kill(1)
    with pytest.raises(WorkerUnavailable):
        await recognition.finish()
    await close(hypotheses)


async def test_an_engines_failure_is_no_loss() -> None:
    broken = ScriptedRecognizer([WorkerError("broken")])
    other = ScriptedRecognizer(["other"])
    async with (
        serving(recognizer_app(broken, access=Access(), model="scripted")) as first,
        serving(recognizer_app(other, access=Access(), model="scripted")) as second,
    ):
        recognition = await reach_recognizer(f"{first},{second}").start()
        with pytest.raises(WorkerError, match="broken"):
            await recognition.finish()
    assert other.asked == []


async def test_a_reply_goes_round_a_dead_and_a_busy_server() -> None:
    busy = ScriptedLanguage([WorkerBusy("full")])
    well = ScriptedLanguage(["Hello there."])
    async with (
        serving(language_app(busy, access=Access(), model="scripted")) as first,
        serving(language_app(well, access=Access(), model="scripted")) as second,
    ):
        stage = reach_language(f"{DEAD},{first},{second}")
        parts = [part async for part in stage.reply(HELLO)]
    assert text_of(parts) == "Hello there."
    assert len(busy.requests) == 1


async def test_a_reply_that_has_begun_is_not_written_again() -> None:
    other = ScriptedLanguage(["Never asked for."])
    async with AsyncExitStack() as dying:
        app = language_app(ScriptedLanguage([["Once", HOLD]]), access=Access(), model="scripted")
        first = await dying.enter_async_context(serving(app))
        async with serving(language_app(other, access=Access(), model="scripted")) as second:
            parts = reach_language(f"{first},{second}").reply(HELLO)
            assert await anext(parts) == TextDelta("Once")
            await dying.aclose()
            with pytest.raises(WorkerError):
                await anext(parts)
    assert other.requests == []


async def test_speech_goes_round_a_dead_server_and_closing_reaches_the_worker() -> None:
    scripted = ScriptedSynthesizer()
    async with serving(synthesizer_app(scripted, access=Access(), model="scripted")) as url:
        stage = reach_synthesizer(f"{DEAD},{url}")
        chunks = [chunk async for chunk in stage.speak("Hello there.", model="pack@1")]
        assert chunks[-1].text_span == (5, 12)
        assert scripted.models == ["pack@1"]
        long = stage.speak("word " * 2000)
        await anext(long)
        await close(long)
        async with asyncio.timeout(5):
            while not scripted.cancelled:
                await asyncio.sleep(0)
        with pytest.raises(WorkerUnavailable):
            await anext(reach_synthesizer(f"{DEAD},{GONE}").speak("Hello."))


def test_a_failed_place_rests_longer_each_time() -> None:
    now = [0.0]
    places = Places({"a": "worker a", "b": "worker b"}, clock=lambda: now[0])
    first, second = places.all
    assert places.next({}) is first
    places.failed(first)
    assert places.next({}) is second
    assert places.next({"b": WorkerUnavailable("gone")}) is first  # better than nobody
    assert places.next({"b": WorkerBusy("full")}) is None
    now[0] = 0.6
    assert places.next({}) is first
    for _ in range(20):
        places.failed(first)
    now[0] += LONGEST_REST_SECONDS - 1
    assert places.rests(first)
    places.answered(first)
    assert not places.rests(first)
    first.open = 1
    assert places.next({}) is second


def test_one_urls_own_error_stands() -> None:
    error = WorkerBusy("2 utterances are open")
    assert nobody({"a": error}) is error
    with pytest.raises(ValueError, match="expected at least one"):
        Places({})


async def seen_well(stage: Recognizer, url: str) -> Health:
    """The health that says so; a busy machine may not answer within the time for one URL."""
    async with asyncio.timeout(60):
        while True:
            with suppress(WorkerUnavailable):
                if (health := await stage.health()).detail["urls"][url]["state"] == "ok":
                    return health


class Based(ScriptedLanguage):
    """A chat server that says which base it serves; empty: it does not say."""

    def __init__(self, base: str) -> None:
        super().__init__([base or "any"], repeat=True)
        self.base = base

    async def health(self) -> Health:
        return Health("language", "scripted", "scripted", {"base_sha256": self.base} if self.base else {})


async def test_a_pack_is_answered_by_a_server_of_its_base() -> None:
    first, second = Based("aaa"), Based("bbb")
    async with (
        serving(language_app(first, access=Access(), model="scripted")) as one,
        serving(language_app(second, access=Access(), model="scripted")) as two,
    ):
        stage = reach_language(f"{one},{two}")
        assert [await said(stage, base) for base in ("bbb", "aaa", "bbb")] == ["bbb", "aaa", "bbb"]
        with pytest.raises(WrongBase, match=f"needs language base ccc, but {one} serves aaa; {two} serves bbb"):
            await said(stage, "ccc")
        second.base = "ccc"  # started anew with another one
        assert await said(stage, "ccc") == "bbb"
    with pytest.raises(WorkerUnavailable):
        await said(stage, "ccc")


async def test_a_server_that_names_no_base_is_taken_at_its_operators_word() -> None:
    async with serving(language_app(Based(""), access=Access(), model="scripted")) as url:
        assert await said(reach_language(f"{DEAD},{url}"), "aaa") == "any"
    with pytest.raises(WorkerUnavailable):
        await said(reach_language(DEAD), "aaa")


async def said(stage: LanguageModel, base: str) -> str:
    return text_of([part async for part in stage.reply(replace(HELLO, base_sha256=base))])


async def free(recognizer: ScriptedRecognizer) -> None:
    """Waits until the worker has noticed that an utterance was closed."""
    async with asyncio.timeout(5):
        while recognizer.open > 1:
            await asyncio.sleep(0)


def text_of(parts: list[ReplyPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))
