"""What a worker counts: work done, work whose peer left first, refusals; and what is no work."""

from __future__ import annotations

import asyncio

import httpx

from app.access import Access
from app.reply import close
from app.workers.connect import reach_recognizer, reach_synthesizer
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from app.workers.server import language_app, recognizer_app, synthesizer_app
from tests.app.test_metrics import scraped
from tests.serving import serving
from tests.sounds import silence


async def grown(url: str, before: dict[str, float], name: str) -> float:
    """How much a figure has grown, once it has: a worker notes the end of its work just after its peer has it."""
    async with asyncio.timeout(30):
        while not (by := (await scraped(url)).get(name, 0.0) - before.get(name, 0.0)):
            await asyncio.sleep(0.01)
    return by


async def test_an_utterance_is_counted_when_it_ends_and_when_its_peer_leaves() -> None:
    recognizer = ScriptedRecognizer(["one", "two", "three"], slots=1)
    async with serving(recognizer_app(recognizer, access=Access(), model="scripted")) as url:
        before, stage = await scraped(url), reach_recognizer(url)
        recognition = await stage.start()
        recognition.feed(silence(1.0, 16_000))
        assert (await recognition.finish()).text == "one"
        assert await grown(url, before, "parley_work_seconds_count{stage=recognizer}") == 1
        recognition = await stage.start()
        assert await grown(url, before, "parley_open_work{stage=recognizer}") == 1
        await recognition.abort()
        assert await grown(url, before, "parley_cancelled_total{stage=recognizer}") == 1
        after = await scraped(url)
    assert after["parley_open_work{stage=recognizer}"] == before.get("parley_open_work{stage=recognizer}", 0.0)
    assert after["parley_work_seconds_count{stage=recognizer}"] == 2 + before.get(
        "parley_work_seconds_count{stage=recognizer}", 0.0
    )


async def test_a_clause_whose_peer_leaves_is_cancelled() -> None:
    async with serving(synthesizer_app(ScriptedSynthesizer(), access=Access(), model="scripted")) as url:
        before = await scraped(url)
        chunks = reach_synthesizer(url).speak("many words " * 2000)
        await anext(chunks)
        await close(chunks)
        assert await grown(url, before, "parley_cancelled_total{stage=synthesizer}") == 1


async def test_a_stream_that_is_left_is_cancelled_and_health_is_no_work() -> None:
    language = ScriptedLanguage([["Let me ", HOLD], "Yes."])
    body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
    async with serving(language_app(language, access=Access(), model="scripted")) as url:
        before = await scraped(url)
        async with httpx.AsyncClient() as client:
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                await anext(answer.aiter_lines())
            assert await grown(url, before, "parley_cancelled_total{stage=language}") == 1
            assert (await client.post(f"{url}/v1/chat/completions", json=body)).status_code == 200
            await client.get(f"{url}/health")
            await client.post(f"{url}/v1/nothing", json=body)
        assert await grown(url, before, "parley_work_seconds_count{stage=language}") == 2
        assert (await scraped(url))["parley_cancelled_total{stage=language}"] == 1 + before.get(
            "parley_cancelled_total{stage=language}", 0.0
        )
