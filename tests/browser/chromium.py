"""Debian's Chromium with a microphone that plays a recording. Knows nothing of what the page shows."""

from __future__ import annotations

import contextlib
import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from app.audio import REALTIME_RATE, Pcm16

CHROMIUM = shutil.which("chromium")
SHOTS = Path(__file__).resolve().parent.parent.parent / "shots"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--use-fake-device-for-media-stream")  # fmt: skip


@contextlib.asynccontextmanager
async def chromium(
    microphone: Path | None = None, *, microphone_allowed: bool = True, loopback_name: str = ""
) -> AsyncIterator[Browser]:
    """A headless browser; `microphone` is played once, from when the page opens it. Skips without Chromium.

    `loopback_name` resolves to this machine, but is not localhost in the browser's eyes.
    """
    if CHROMIUM is None:
        pytest.skip("the program chromium is not installed (Debian package chromium)")
    arguments = [*QUIET]
    if microphone_allowed:
        arguments.append("--use-fake-ui-for-media-stream")
    if loopback_name:
        arguments.append(f"--host-resolver-rules=MAP {loopback_name} 127.0.0.1")
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def page_at(url: str, browser: Browser, **context: Any) -> AsyncIterator[Page]:
    """The page, connected; nothing may have been reported to its console in the end."""
    complaints: list[str] = []
    page = await (await browser.new_context(**context)).new_page()
    page.set_default_timeout(120_000)  # ms; reached only where something hangs
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    await page.goto(url)
    yield page
    # what Chromium itself reports of a service that went away or refuses
    expected = ("ERR_CONNECTION", "WebSocket", "401", "403", "409")
    assert [line for line in complaints if not any(word in line for word in expected)] == []
    await page.context.close()


def recording(path: Path, pcm: Pcm16) -> Path:
    """PCM16 at REALTIME_RATE as the WAV that Chromium reads."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(REALTIME_RATE)
        file.writeframes(pcm)
    return path


async def shot(page: Page, name: str) -> None:
    """A screenshot to look at; nothing depends on it."""
    SHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SHOTS / f"{name}.png")
