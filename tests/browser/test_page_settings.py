"""The page's menus, its memory and the view of the last turns, in real Chromium against scripted workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from app.gateway import GatewayOptions, create_app
from app.packs import find_pack
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.browser.chromium import chromium, page_at, shot
from tests.serving import serving

ANSWER = "It is ten past nine."
NAMES = {"a": "en", "b": "de"}


def pack_folder(root: Path) -> Path:
    """Two packs without weights: a speaks English and has two voices, b German and one."""
    for name, language in NAMES.items():
        (root / name).mkdir(parents=True)
        voices = '["nova", "onyx"]' if name == "a" else '["clara"]'
        (root / name / "pack.toml").write_text(
            f'[pack]\nformat = 1\nname = "{name}"\nversion = "1"\nlanguage = "{language}"\n'
            f'knows = "What {name} knows."\nexamples = ["ask {name}"]\ngreeting = "Hello from {name}."\n'
            f"[voice]\nnames = {voices}\n"
        )
    return root


class Voices(ScriptedSynthesizer):
    """Notes which voice of which pack was asked for."""

    def __init__(self) -> None:
        super().__init__(voices=("nova", "onyx", "clara"))
        self.asked: list[tuple[str, str]] = []

    def speak(self, text: str, *, voice: str = "", speed: float = 1.0, model: str = "") -> AsyncIterator[Any]:
        """As the scripted one."""
        self.asked.append((model, voice))
        return super().speak(text, voice=voice, speed=speed, model=model)


@contextlib.asynccontextmanager
async def service(tmp_path: Path) -> AsyncIterator[tuple[str, Voices]]:
    """A running service of both packs, a being its own, and its synthesizer."""
    packs, voices = pack_folder(tmp_path / "packs"), Voices()
    workers = Workers(ScriptedRecognizer([]), ScriptedLanguage([ANSWER] * 9), voices)
    app = create_app(find_pack(packs, "a"), workers, options=GatewayOptions(packs=packs))
    async with serving(app) as url:
        yield url, voices


@contextlib.asynccontextmanager
async def opened(url: str, browser: Browser, **context: Any) -> AsyncIterator[Page]:
    """The page, connected."""
    async with page_at(url, browser, **context) as page:
        await expect(page.locator("#talk")).to_be_enabled()
        yield page


async def ask(page: Page, text: str, answers: int) -> None:
    """Types a request and waits for the answer and its times."""
    await page.fill("#text", text)
    await page.press("#text", "Enter")
    await expect(page.locator(".assistant .timeline")).to_have_count(answers)


async def test_another_pack_and_its_voice_are_chosen_and_remembered(tmp_path: Path) -> None:
    async with service(tmp_path) as (url, voices), chromium() as browser, opened(url, browser) as page:
        await expect(page.locator("#greeting")).to_have_text("Hello from a.")
        await page.click(".gear")
        assert await page.locator("#model option").all_inner_texts() == ["a: English", "b: German"]
        assert await page.locator("#voice option").all_inner_texts() == ["nova", "onyx"]
        await expect(page.locator("#voice-hint")).to_be_hidden()
        await page.select_option("#voice", "onyx")
        await shot(page, "page-settings")
        await ask(page, "first", 1)
        await page.select_option("#voice", "nova")  # too late for this session: the next one has it
        await expect(page.locator(".divider")).to_have_count(1)
        await expect(page.locator("#talk")).to_be_enabled()
        await ask(page, "second", 2)
        await page.select_option("#model", "b")
        await expect(page.locator("#knows")).to_have_text("What b knows.")
        await expect(page.locator("#voice")).to_be_disabled()
        await expect(page.locator("#voice-hint")).to_have_text("This pack has no other voice.")
        await expect(page.locator("#voice")).to_have_accessible_description("This pack has no other voice.")
        await expect(page.locator("#talk")).to_be_enabled()
        await ask(page, "third", 3)
        assert voices.asked == [("a@1", "onyx"), ("a@1", "nova"), ("b@1", "clara")]
        await page.reload()
        await expect(page.locator("#knows")).to_have_text("What b knows.")
        assert await page.input_value("#model") == "b"


async def test_a_remembered_pack_that_is_gone_gives_way_to_the_services_own(tmp_path: Path) -> None:
    async with service(tmp_path) as (url, _), chromium() as browser, opened(url, browser) as page:
        await page.evaluate('localStorage.setItem(\'parley.settings\', \'{"model": "gone", "looks": 7}\')')
        await page.reload()
        await expect(page.locator("#greeting")).to_have_text("Hello from a.")
        await expect(page.locator("#talk")).to_be_enabled()
        await ask(page, "still there?", 1)


async def test_looks_and_push_to_talk_are_remembered(tmp_path: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    async with service(tmp_path) as (url, _), chromium() as browser, opened(url, browser, color_scheme="light") as page:
        light = await page.evaluate(ground)
        await page.check("#ptt")
        await page.click(".gear")
        await page.select_option("#looks", "dark")
        dark = await page.evaluate(ground)
        assert dark != light
        await page.reload()
        assert await page.evaluate(ground) == dark
        await expect(page.locator("#ptt")).to_be_checked()
        await expect(page.locator("#talk-label")).to_have_text("Hold to talk")


async def test_the_transcript_is_a_file_made_on_this_machine(tmp_path: Path) -> None:
    async with service(tmp_path) as (url, _), chromium() as browser, opened(url, browser) as page:
        await expect(page.locator("#download")).to_be_disabled()
        await ask(page, "what time is it?", 1)
        await page.click(".gear")
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        async with page.expect_download() as saving:
            await page.click("#download")
        download = await saving.value
        assert download.suggested_filename.startswith("parley-")
        lines = (await asyncio.to_thread(Path(await download.path()).read_text)).splitlines()
        assert lines[0].startswith("Parley, a, ")
        assert [line[10:] for line in lines[2:]] == ["You: what time is it?", f"Parley: {ANSWER}"]
        assert [one for one in requests if one.startswith("http")] == []


async def test_the_last_turns_are_seen_side_by_side(tmp_path: Path) -> None:
    wide = {"width": 1280, "height": 900}
    async with service(tmp_path) as (url, _), chromium() as browser, opened(url, browser, viewport=wide) as page:
        for number in range(1, 4):
            await ask(page, f"question {number}", number)
        assert await page.locator(".times .said").all_inner_texts() == [f"question {n}" for n in (1, 2, 3)]
        assert "last 3 turns: median" in await page.inner_text("#times-summary")
        await shot(page, "page-times")
