"""The page when something is not there: microphone, sound, worker, service, key. In real Chromium, scripted workers."""

from __future__ import annotations

import contextlib
import socket

from playwright.async_api import expect

from app.access import Access
from app.errors import WorkerUnavailable
from app.gateway import create_app
from app.speaking import Workers
from app.workers.base import Health
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.browser.chromium import chromium, page_at, shot
from tests.browser.test_page import ANSWER, PACK, opened, type_in, workers
from tests.serving import serving


async def test_a_refused_microphone_is_explained_and_typing_still_works() -> None:
    async with (
        serving(create_app(PACK, workers(replies=[ANSWER]))) as url,
        chromium(microphone_allowed=False) as browser,
        page_at(url, browser) as page,
    ):
        await page.click("#talk")
        await expect(page.locator(".notice")).to_contain_text("The microphone was refused")
        await expect(page.locator("#talk-label")).to_have_text("Start talking")
        await shot(page, "page-light-refused")
        await type_in(page, "hello")
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)


async def test_a_page_that_is_not_on_localhost_says_why_there_is_no_sound() -> None:
    app = create_app(PACK, workers(replies=[ANSWER]), access=Access(hosts=("parley.test",)))
    async with (
        serving(app) as url,
        chromium(loopback_name="parley.test") as browser,
        page_at(url.replace("127.0.0.1", "parley.test"), browser) as page,
    ):
        await expect(page.locator(".notice")).to_contain_text("Replies are written only")
        await type_in(page, "hello")
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
        await page.click("#talk")
        await expect(page.locator(".notice").last).to_contain_text("localhost or https")


class Gone(ScriptedRecognizer):
    """A recognizer whose process has died."""

    async def health(self) -> Health:
        """Nobody answers."""
        raise WorkerUnavailable("nobody answers")


async def test_a_missing_worker_is_named() -> None:
    scripted = Workers(Gone([]), ScriptedLanguage([ANSWER]), ScriptedSynthesizer())
    async with opened(scripted) as page:
        await expect(page.locator(".notice")).to_contain_text("The recognizer is not answering")
        await expect(page.locator("#workers [data-down=true]")).to_have_text("recognizer (down)")
        await type_in(page, "hello")
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)


async def test_a_failed_reply_is_shown_and_the_next_one_works() -> None:
    async with opened(workers(replies=[WorkerUnavailable("the model is away"), ANSWER])) as page:
        await type_in(page, "hello")
        await expect(page.locator(".notice")).to_contain_text("The reply failed: the model is away")
        await type_in(page, "hello again")
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)


async def test_a_service_that_goes_away_is_missed_and_found_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with chromium() as browser, contextlib.AsyncExitStack() as first_life:
        url = await first_life.enter_async_context(serving(create_app(PACK, workers(replies=[ANSWER])), port=port))
        async with page_at(url, browser) as page:
            await type_in(page, "hello")
            await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
            await first_life.aclose()
            await expect(page.locator(".notice").first).to_contain_text("The service is gone")
            await expect(page.locator("#talk")).to_be_disabled()
            await shot(page, "page-light-gone")
            async with serving(create_app(PACK, workers(replies=[ANSWER])), port=port):
                await expect(page.locator(".divider")).to_contain_text("Connected again")
                await expect(page.locator(".notice")).to_have_count(0)
                await type_in(page, "hello again")
                await expect(page.locator(".assistant .words").nth(1)).to_have_text(ANSWER)


async def test_a_key_is_asked_for_once() -> None:
    access = Access(frozenset({"right-key"}))
    async with (
        serving(create_app(PACK, workers(replies=[ANSWER]), access=access)) as url,
        chromium() as browser,
        page_at(url, browser) as page,
    ):
        await page.fill("#key", "wrong-key")
        await page.press("#key", "Enter")
        await expect(page.locator("#key-hint")).to_contain_text("refused")
        await page.fill("#key", "right-key")
        await page.press("#key", "Enter")
        await expect(page.locator("#talk")).to_be_enabled()
        await page.reload()
        await expect(page.locator("#talk")).to_be_enabled()
        await type_in(page, "hello")
        await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
