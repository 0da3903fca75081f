"""What is counted: a spoken turn's stages, replies, refusals, sessions; and that the page asks for no key."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from app.access import Access
from app.gateway import create_app
from app.speaking import Workers
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving
from tests.sounds import flite

STAGES = ("endpoint_wait", "recognizer", "first_token", "first_clause", "first_audio", "answer")


async def scraped(url: str) -> dict[str, float]:
    """Every sample of a process, as `name` or `name{label=value}`."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def workers(*replies: object) -> Workers:
    return Workers(
        ScriptedRecognizer(["what time is it"] * 9),
        ScriptedLanguage(list(replies)),
        ScriptedSynthesizer(),  # type: ignore[arg-type]
    )


async def test_a_spoken_turn_is_counted_at_every_stage() -> None:
    async with serving(create_app(SCRIPTED, workers("It is ten past four."))) as url:
        before = await scraped(url)
        async with calling(url) as caller:
            await caller.say(flite("what time is it"), then_silence=1.0)
            await caller.until("response.done")
            during = await scraped(url)
        after = await scraped(url)
    for stage in STAGES:
        name = f"parley_{stage}_seconds_count"
        assert after[name] - before[name] == 1, stage
    wait = "parley_endpoint_wait_seconds_sum"
    assert 0.4 < after[wait] - before[wait] < 0.8  # the silence that the starter pack waits for
    completed = "parley_turns_total{status=completed}"
    assert after[completed] - before.get(completed, 0) == 1
    assert during["parley_sessions"] - before["parley_sessions"] == 1
    assert after["parley_sessions"] == before["parley_sessions"]


async def test_an_interrupted_reply_and_a_refused_event_are_counted() -> None:
    async with serving(create_app(SCRIPTED, workers(["One moment please, ", HOLD]))) as url:
        before = await scraped(url)
        async with calling(url) as caller:
            await caller.send("response.create", response={"output_modalities": ["text"]})
            await caller.until("response.output_text.delta")
            await caller.send("response.cancel")
            await caller.until("response.done")
            await caller.send("response.cancel")
            await caller.until("error")
        after = await scraped(url)
    for name in (
        "parley_turns_total{status=cancelled}",
        "parley_cancelled_total{stage=gateway}",
        "parley_refusals_total{code=response_cancel_not_active}",
    ):
        assert after[name] - before.get(name, 0) == 1, name


async def test_the_page_asks_for_no_key_and_tells_none() -> None:
    app = create_app(SCRIPTED, workers(), access=Access(frozenset({"very-secret"})))
    async with serving(app) as url, httpx.AsyncClient() as client:
        refused = await client.post(f"{url}/v1/audio/speech", headers={"authorization": "Bearer guessed-key"})
        page = (await client.get(f"{url}/metrics")).text
    assert refused.status_code == 401
    assert 'parley_refusals_total{code="invalid_api_key"}' in page
    assert "very-secret" not in page
    assert "guessed-key" not in page
