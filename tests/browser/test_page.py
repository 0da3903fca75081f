"""The page in real Chromium against a real server with scripted workers: what a caller sees and hears."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from app.audio import REALTIME_RATE, seconds_of
from app.gateway import create_app
from app.speaking import Workers
from app.workers.base import ToolCall
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.browser.chromium import chromium, page_at, recording, shot
from tests.packs import SCRIPTED
from tests.serving import serving
from tests.sounds import flite, silence

QUESTION = "what time is it"
ANSWER = "It is ten past nine. Have a good morning."
STORY = (
    "Once upon a time there was a small lamp that did not want to be switched off. Every evening it hid behind the "
    "curtain and waited. One night the wind came in and asked for the time. The lamp did not know."
)
LONG_STORY = " ".join([STORY] * 20)  # over three minutes: it cannot end before it is interrupted, however slow the page
PACK = dataclasses.replace(
    SCRIPTED, knows="The time, timers and a story.", examples=(QUESTION, "tell me a story"), greeting="Hello there."
)
expect.set_options(timeout=20_000)  # milliseconds; two busy cores and a recording of some seconds
EVERY_STAGE = ["Endpoint wait", "Recognizer", "First token", "First clause", "First audio"]


def workers(heard: Sequence[str | Exception] = (), replies: Sequence[Any] = ()) -> Workers:
    """Scripted workers; a character of speech lasts 50 ms."""
    return Workers(ScriptedRecognizer(heard), ScriptedLanguage(replies), ScriptedSynthesizer())


@contextlib.asynccontextmanager
async def opened(scripted: Workers, microphone: Path | None = None, **context: Any) -> AsyncIterator[Page]:
    """The page of a running service, connected to it."""
    async with (
        serving(create_app(PACK, scripted)) as url,
        chromium(microphone) as browser,
        page_at(url, browser, **context) as page,
    ):
        await expect(page.locator("#talk")).to_be_enabled()
        yield page


async def until_heard(page: Page, milliseconds: int) -> None:
    """Waits until so much of the last reply was played; the page's policy forbids Playwright's wait_for_function."""
    reply = page.locator(".assistant").last
    async with asyncio.timeout(20):
        while int(await reply.get_attribute("data-heard-ms") or 0) < milliseconds:
            await page.wait_for_timeout(20)


async def type_in(page: Page, text: str) -> None:
    await page.fill("#text", text)
    await page.press("#text", "Enter")


async def test_a_typed_request_is_answered_in_words_and_sound() -> None:
    async with opened(workers(replies=[ANSWER])) as page:
        await expect(page.locator("#knows")).to_have_text("The time, timers and a story.")
        await shot(page, "page-light-empty")
        await type_in(page, "what time is it?")
        await expect(page.locator(".caller .words")).to_have_text("what time is it?")
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
        await expect(page.locator("#state")).to_have_text("Speaking")
        await until_heard(page, 50 * len(ANSWER) - 250)  # less the sound device's delay
        await expect(page.locator("#state")).to_have_text("Ready")
        names = await page.locator(".numbers li").all_inner_texts()
        assert [name.rsplit(" ", 1)[0] for name in names] == EVERY_STAGE[2:]  # nothing was spoken, nobody waited


async def test_an_example_is_asked_with_a_click() -> None:
    async with opened(workers(replies=[ANSWER]), color_scheme="dark") as page:
        await page.click(f"#examples button:has-text('{QUESTION}')")
        await expect(page.locator(".caller .words")).to_have_text(QUESTION)
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
        await shot(page, "page-dark")


async def test_a_spoken_question_is_heard_while_it_is_spoken_and_answered(tmp_path: Path) -> None:
    sound = recording(tmp_path / "question.wav", silence(0.5) + flite(QUESTION) + silence(5))
    scripted = workers([QUESTION], [ANSWER])
    async with opened(scripted, sound) as page:
        await page.click("#talk")
        await expect(page.locator("#state")).to_have_text("Hearing you")
        await expect(page.locator(".caller.open .words")).to_have_text(re.compile("^what"))
        await expect(page.locator(".caller:not(.open) .words")).to_have_text(QUESTION)
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
        await until_heard(page, 500)
        names = await page.locator(".numbers li").all_inner_texts()
        assert [name.rsplit(" ", 1)[0] for name in names] == EVERY_STAGE
        await shot(page, "page-light-spoken")
        await expect(page.locator("#state")).to_have_text("Listening")
    assert isinstance(scripted.recognizer, ScriptedRecognizer)
    (heard,) = scripted.recognizer.heard
    assert 0.9 < seconds_of(heard, 16_000) < 3  # the question, not the whole recording


async def test_speaking_interrupts_the_reply_and_only_the_words_heard_remain(tmp_path: Path) -> None:
    sound = recording(
        tmp_path / "barge-in.wav", silence(0.5) + flite(QUESTION) + silence(3) + flite("stop it now") + silence(9)
    )
    scripted = workers([QUESTION, "stop"], [LONG_STORY, ANSWER])
    async with opened(scripted, sound) as page:
        await page.click("#talk")
        first = page.locator(".assistant").first
        await expect(first).to_have_attribute("data-mark", "interrupted")
        await expect(page.locator(".assistant .words").nth(1)).to_have_text(ANSWER)
        told = await first.locator(".words").inner_text()
        heard_ms = int(await first.get_attribute("data-heard-ms") or 0)
        await shot(page, "page-light-interrupted")
    assert LONG_STORY.startswith(told)
    assert 0 < len(told) < len(LONG_STORY)
    assert abs(50 * len(told) - heard_ms) < 600  # a word or so: the synthesizer marks the ends of words
    assert isinstance(scripted.language, ScriptedLanguage)
    assert {"role": "assistant", "content": told} in scripted.language.requests[1].messages


async def test_the_stop_button_ends_the_reply(tmp_path: Path) -> None:
    scripted = workers(replies=[LONG_STORY, ANSWER])
    async with opened(scripted) as page:
        await type_in(page, "a story")
        await until_heard(page, 700)
        await page.click("#stop")
        first = page.locator(".assistant").first
        await expect(first.locator(".note")).to_have_text("interrupted")
        await expect(page.locator("#state")).to_have_text("Ready")
        await expect(page.locator("#stop")).to_be_disabled()
        told = await first.locator(".words").inner_text()
        await type_in(page, "go on")
        await expect(page.locator(".assistant .words").nth(1)).to_have_text(ANSWER)
    assert LONG_STORY.startswith(told)
    assert 0 < len(told) < len(LONG_STORY)
    assert isinstance(scripted.language, ScriptedLanguage)
    assert {"role": "assistant", "content": told} in scripted.language.requests[1].messages


async def test_the_space_bar_talks_in_push_to_talk_mode_and_stays_a_space_in_the_text_field(tmp_path: Path) -> None:
    sound = recording(tmp_path / "long.wav", flite("one two three four five six seven eight nine ten") + silence(20))
    scripted = workers(["one two three"], [ANSWER, ANSWER])
    async with opened(scripted, sound) as page:
        await page.check("#ptt")
        await expect(page.locator("#state")).to_have_text("Hold the button or the space bar")
        await page.keyboard.down("Space")
        await expect(page.locator("#state")).to_have_text("Hearing you")
        await page.wait_for_timeout(900)  # the microphone plays in real time
        await page.keyboard.up("Space")
        await expect(page.locator(".caller .words")).to_have_text("one two three")
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
        await page.locator("#text").press_sequentially("a b")
        await expect(page.locator("#text")).to_have_value("a b")
        await expect(page.locator(".caller")).to_have_count(1)
        await shot(page, "page-light-push-to-talk")
    assert isinstance(scripted.recognizer, ScriptedRecognizer)
    (heard,) = scripted.recognizer.heard
    assert 0.5 < seconds_of(heard, 16_000) < 3  # from press to release


async def test_a_tap_in_push_to_talk_mode_explains_itself(tmp_path: Path) -> None:
    async with opened(workers()) as page:
        await page.check("#ptt")
        await expect(page.locator("#talk-label")).to_have_text("Hold to talk")
        await page.click("#talk")
        await expect(page.locator(".notice")).to_contain_text("Hold the button while you speak")
        await expect(page.locator(".turn")).to_have_count(0)


async def test_a_timer_that_ends_speaks_without_being_asked() -> None:
    timer = ToolCall("call_1", "set_timer", '{"amount": 1, "unit": "seconds"}')
    async with opened(workers(replies=[[timer], "The timer is set."])) as page:
        await type_in(page, "set a timer for one second")
        await expect(page.locator(".assistant .words").first).to_have_text("The timer is set.")
        await expect(page.locator(".assistant .words").nth(1)).to_have_text("Your timer for 1 second is done.")
        await until_heard(page, 500)


async def test_markup_in_a_reply_is_text() -> None:
    nasty = "<img src=x onerror=alert(1)> and <b>bold</b>."
    async with opened(workers(replies=[nasty])) as page:
        await type_in(page, "hello")
        await expect(page.locator(".assistant .words")).to_have_text(nasty)
        await expect(page.locator(".assistant img, .assistant b:not(.numbers b)")).to_have_count(0)


async def test_a_phone_shows_everything_without_sideways_scrolling() -> None:
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 720}, "device_scale_factor": 2, "has_touch": True}
    async with opened(workers(replies=[STORY]), **phone) as page:
        await shot(page, "page-phone-empty")
        await type_in(page, "tell me a story")
        await expect(page.locator(".timeline")).to_be_visible()
        for control in ("#talk", "#stop", "#text", "#ptt"):
            await expect(page.locator(control)).to_be_in_viewport(ratio=1)
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        await shot(page, "page-phone")


async def test_the_microphone_resampler_keeps_speech_and_stops_what_would_alias() -> None:
    script = """async (rate) => {
        const { Resampler } = await import("/web/resample.js");
        const level = (frequency) => {
            const resampler = new Resampler(rate, 24000);
            let energy = 0, count = 0;
            for (let block = 0; block < 100; block += 1) {
                const tone = Float32Array.from({ length: 128 },
                    (_, n) => Math.sin((2 * Math.PI * frequency * (block * 128 + n)) / rate));
                const out = resampler.feed(tone);
                if (block >= 10) { count += out.length; for (const sample of out) energy += sample * sample; }
            }
            return [10 * Math.log10((2 * energy) / count + 1e-12), count];
        };
        return [level(1000), level(13500)];
    }"""
    async with opened(workers()) as page:
        for rate in (16_000, 22_050, 44_100, 48_000, 96_000):
            (speech_db, samples), (alias_db, _) = await page.evaluate(script, rate)
            assert abs(speech_db) < 0.1, rate
            assert abs(samples - 90 * 128 * REALTIME_RATE / rate) <= 1, rate
            assert rate < 27_000 or alias_db < -60, rate  # lower rates hold no such tone
