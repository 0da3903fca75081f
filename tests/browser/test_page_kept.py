"""The page of a service that keeps conversations: it says so, and a lost connection is no lost conversation."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from playwright.async_api import expect

from app.gateway import create_app
from app.speaking import Workers
from app.store.store import conversations_database
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.browser.chromium import chromium, page_at
from tests.browser.test_page import ANSWER, PACK, type_in
from tests.serving import serving


async def test_a_conversation_goes_on_when_the_service_is_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    language = ScriptedLanguage([ANSWER], repeat=True)
    workers = Workers(ScriptedRecognizer([]), language, ScriptedSynthesizer())
    kept, other = (conversations_database(str(tmp_path / name)) for name in ("kept.sqlite", "other.sqlite"))
    with contextlib.closing(kept), contextlib.closing(other):
        async with chromium() as browser, contextlib.AsyncExitStack() as lives:
            app = create_app(PACK, workers, conversations=kept)
            url = await lives.enter_async_context(serving(app, port=port))
            async with page_at(url, browser) as page:
                await expect(page.locator(".notice")).to_contain_text("keeps the words that are said here")
                await type_in(page, "hello")
                await expect(page.locator(".assistant .words")).to_have_text(ANSWER)
                for number, (database, said) in enumerate(((kept, "goes on"), (other, "is forgotten")), 1):
                    await lives.aclose()
                    await expect(page.locator(".notice").filter(has_text="The service is gone")).to_have_count(1)
                    app = create_app(PACK, workers, conversations=database)
                    await lives.enter_async_context(serving(app, port=port))
                    await expect(page.locator(".divider").last).to_contain_text(said)
                    await type_in(page, f"it {said}")
                    await expect(page.locator(".assistant .words").nth(number)).to_have_text(ANSWER)
    asked = [[m["content"] for m in request.messages if m["role"] == "user"] for request in language.requests]
    assert asked == [["hello"], ["hello", "it goes on"], ["it is forgotten"]]
