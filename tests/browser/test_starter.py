"""The page in real Chromium against the starter pack's own models: a spoken question, an answer, sound."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from playwright.async_api import expect

from app.gateway import create_app
from app.speaking import Workers
from app.workers import connect
from tests.browser.chromium import chromium, page_at, recording, shot
from tests.packs import starter
from tests.serving import serving
from tests.sounds import flite, silence


async def test_the_starter_hears_a_spoken_question_and_answers_it_aloud(tmp_path: Path) -> None:
    pack = starter()
    workers = Workers(
        connect.load_recognizer(pack, "whisper"), connect.load_language(pack), connect.load_synthesizer(pack)
    )
    sound = recording(tmp_path / "question.wav", silence(1) + flite("what is twelve plus thirty") + silence(20))
    async with serving(create_app(pack, workers)) as url, chromium(sound) as browser, page_at(url, browser) as page:
        await expect(page.locator("#examples button")).to_have_count(len(pack.examples))
        await page.click("#talk")
        heard, replied = page.locator(".caller:not(.open) .words"), page.locator(".assistant:not(.open) .words")
        await expect(heard).to_have_text("what is twelve plus thirty", timeout=30_000)
        await expect(replied).to_have_text(re.compile("42"), timeout=30_000)
        async with asyncio.timeout(20):
            while int(await page.locator(".assistant").get_attribute("data-heard-ms") or 0) < 500:
                await page.wait_for_timeout(20)
        await expect(page.locator(".numbers li")).to_have_count(5)
        await shot(page, "page-starter")
