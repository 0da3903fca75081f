"""Debian's Firefox, headless, over WebDriver BiDi. Knows nothing of what the page shows.

Playwright drives only builds of its own, and Selenium needs a driver that Debian does not have; the protocol is JSON
over a WebSocket (W3C, WebDriver BiDi).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.browser.chromium import SHOTS

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {
    "media.navigator.permission.disabled": True,  # the microphone is allowed
    "media.autoplay.default": 0,
    "app.update.auto": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
HANGS_SECONDS = 60.0  # reached only where something hangs


class Firefox:
    """One page of a running browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""
        self.complaints: list[str] = []
        """What the page's scripts reported as wrong."""

    async def begin(self) -> None:
        """Opens the session."""
        await self._call("session.new", capabilities={})
        await self._call("session.subscribe", events=["log.entryAdded"])
        tree = await self._call("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def goto(self, url: str) -> None:
        """Loads a page."""
        await self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def value(self, expression: str) -> Any:
        """What an expression of a script comes to, as plain JSON; a promise is awaited."""
        script = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        answer = await self._call(
            "script.evaluate",
            expression=script,
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    async def until(self, expression: str) -> None:
        """Waits until an expression is true."""
        async with asyncio.timeout(HANGS_SECONDS):
            while not await self.value(expression):
                await asyncio.sleep(0.05)

    async def shot(self, name: str) -> None:
        """A screenshot to look at; nothing depends on it."""
        image = await self._call("browsingContext.captureScreenshot", context=self._context)
        SHOTS.mkdir(exist_ok=True)
        (SHOTS / f"{name}.png").write_bytes(base64.b64decode(image["data"]))

    async def _call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async for message in self._socket:
            said = json.loads(message)
            if said.get("method") == "log.entryAdded" and said["params"]["level"] in ("error", "warn"):
                self.complaints.append(said["params"]["text"])
            if said.get("id") == number:
                assert said["type"] == "success", f"{method}: {said}"
                return said["result"]
        raise AssertionError("Firefox has closed the connection")


@contextlib.asynccontextmanager
async def firefox(profile: Path, environment: dict[str, str]) -> AsyncIterator[Firefox]:
    """A browser with a fresh profile in `profile`. Skips without Firefox."""
    if FIREFOX is None:
        pytest.skip("the program firefox-esr is not installed (Debian package firefox-esr)")
    _prefer(profile)
    process = await asyncio.create_subprocess_exec(
        FIREFOX,
        *("--headless", "--no-remote", "--remote-debugging-port=0", "--profile", str(profile)),
        stdout=asyncio.subprocess.DEVNULL,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    draining: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(HANGS_SECONDS):
            while not (
                found := re.search(rb"WebDriver BiDi listening on (ws://\S+)", line := await process.stderr.readline())
            ):
                assert line, "Firefox ended before it could be driven"
        draining = asyncio.create_task(process.stderr.read())  # a full pipe would stop it
        async with connect(f"{found[1].decode()}/session", max_size=None) as socket:
            page = Firefox(socket)
            await page.begin()
            yield page
    finally:
        process.kill()
        await process.wait()
        if draining is not None:
            await draining


def _prefer(profile: Path) -> None:
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines))
