"""Conversations over a real server: kept, listed, exported, deleted; a failing store ends no call."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import websockets

from app import keys
from app.access import Access
from app.accounts import Accounts
from app.gateway import GatewayOptions, create_app
from app.keys import access_database
from app.speaking import Workers
from app.store.store import conversations_database
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.app.test_metrics import scraped
from tests.packs import SCRIPTED
from tests.realtime import Caller, calling
from tests.serving import serving
from tests.sounds import flite

QUESTION = "what time is it"


class Place:
    """A service that keeps conversations; several may share its database."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "conversations.sqlite"
        self.keys = str(folder / "access.sqlite")

    @asynccontextmanager
    async def served(
        self, *, heard: list[Any] | None = None, replies: list[Any] | None = None, store: str = "", off: bool = False
    ) -> AsyncIterator[str]:
        """The service's URL."""
        workers = Workers(
            ScriptedRecognizer(heard or []),
            ScriptedLanguage(["Yes."] if replies is None else replies, repeat=replies is None),
            ScriptedSynthesizer(),
        )
        accounts = Accounts(access_database(self.keys))
        database = None if off else conversations_database(store or str(self.file))
        app = create_app(
            SCRIPTED, workers, access=Access(accounts=accounts), conversations=database,
            options=GatewayOptions(audio_ahead_seconds=1000.0),
        )  # fmt: skip
        async with serving(app) as url:
            yield url
        accounts.close()
        if database is not None:
            database.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def ask(caller: Caller, text: str) -> str:
    """A typed question; gives the conversation's id."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await caller.send("conversation.item.create", item=item)
    await caller.send("response.create", response={"output_modalities": ["text"]})
    done = await caller.until("response.done")
    return str(done["response"]["conversation_id"])


async def kept(client: httpx.AsyncClient, name: str, items: int) -> dict[str, Any]:
    """The conversation, once it has so many finished items: they are written behind the call."""
    async with asyncio.timeout(60):
        while True:
            answer = await client.get(f"/v1/conversations/{name}")
            found: dict[str, Any] = answer.json()
            done = [item for item in found.get("items", []) if item["status"] != "in_progress"]
            if answer.is_success and len(done) == items:
                return found
            await asyncio.sleep(0.01)


async def test_what_was_said_is_listed_exported_and_deleted(place: Place) -> None:
    async with place.served() as url, httpx.AsyncClient(base_url=url) as client:
        async with calling(url, "?parley_caller=ann") as caller:
            assert caller.log[0]["session"]["parley_conversation"].startswith("conv_")
            first = await ask(caller, "Is it four?")
        found = await kept(client, first, 2)  # before the next one begins
        async with calling(url, "?parley_caller=bob") as caller:
            second = await ask(caller, "Remember the word heliotrope.")
        async with calling(url):
            pass  # nothing was said, and nothing is kept
        assert [item["role"] for item in found["items"]] == ["user", "assistant"]
        assert [item["content"][0]["text"] for item in found["items"]] == ["Is it four?", "Yes."]
        assert found["items"][0]["at"] <= found["items"][1]["at"]
        assert (found["caller"], found["model"], found["object"]) == ("ann", "scripted", "conversation")
        await kept(client, second, 2)
        listed = (await client.get("/v1/conversations")).json()
        assert [entry["id"] for entry in listed["data"]] == [second, first]  # newest first
        assert [entry["item_count"] for entry in listed["data"]] == [2, 2]
        page = (await client.get("/v1/conversations", params={"limit": 1})).json()
        assert (page["has_more"], [entry["id"] for entry in page["data"]]) == (True, [second])
        page = (await client.get("/v1/conversations", params={"after": second})).json()
        assert (page["has_more"], [entry["id"] for entry in page["data"]]) == (False, [first])
        only = (await client.get("/v1/conversations", params={"caller": "ann"})).json()["data"]
        assert [entry["id"] for entry in only] == [first]
        assert on_disk(place, b"heliotrope")
        assert (await client.delete(f"/v1/conversations/{second}")).json()["deleted"] is True
        assert not on_disk(place, b"heliotrope")
        assert (await client.get(f"/v1/conversations/{second}")).status_code == 404
        assert (await client.delete("/v1/conversations")).json()["error"]["param"] == "caller"
        assert (await client.delete("/v1/conversations", params={"caller": "ann"})).json()["deleted"] == 1
        assert (await client.get("/v1/conversations")).json()["data"] == []


def on_disk(place: Place, word: bytes) -> bool:
    """Whether the database's files have the word anywhere."""
    return any(word in path.read_bytes() for path in place.file.parent.glob("conversations.sqlite*"))


async def test_spoken_turns_have_their_times_and_audio_only_with_consent(place: Place) -> None:
    replies: list[Any] = ["It is ten past four.", "It is ten past four."]
    async with (
        place.served(heard=[QUESTION, QUESTION], replies=replies) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        names = []
        for query in ("", "?parley_keep_audio=true"):
            async with calling(url, query) as caller:  # which asks for neither transcripts nor timings
                await caller.say(flite(QUESTION), then_silence=1.0)
                done = await caller.until("response.done")
                names.append(done["response"]["conversation_id"])
                assert caller.all("parley.turn.timings") == []
                assert "parley_conversation" not in caller.log[0]["session"]
        silent, sounding = [await kept(client, name, 2) for name in names]
        user, assistant = silent["items"]
        assert user["content"] == [{"type": "input_audio", "transcript": QUESTION}]
        assert user["timings"]["audio_end_ms"] > user["timings"]["audio_start_ms"] >= 0
        assert assistant["content"] == [{"type": "output_audio", "transcript": "It is ten past four."}]
        assert assistant["timings"]["first_token_ms"] >= 0
        assert [item["audio_kept"] for item in silent["items"]] == [False, False]
        assert [item["audio_kept"] for item in sounding["items"]] == [True, True]
        for item in sounding["items"]:
            audio = await client.get(f"/v1/conversations/{names[1]}/items/{item['id']}/audio")
            assert audio.headers["content-type"] == "audio/wav"
            with wave.open(io.BytesIO(audio.content)) as file:
                seconds = file.getnframes() / file.getframerate()
            assert 0.3 < seconds < 5
        path = f"/v1/conversations/{names[0]}/items/{user['id']}/audio"
        assert (await client.get(path)).status_code == 404


async def test_a_key_sees_its_own_conversations_alone(place: Place) -> None:
    async with place.served() as url, AsyncExitStack() as stack:
        with access_database(place.keys).session() as session:
            made = [keys.create(session, name, ["caller"])[1] for name in ("web", "other")]
        mine, other = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}))
            for key in made
        ]
        secret = (await mine.post("/v1/realtime/client_secrets", json={"parley_caller": "ann"})).json()["value"]
        async with dial(url, secret, "?parley_caller=mallory") as caller:
            name = (await caller.until("session.created"))["session"]["parley_conversation"]
            await ask(caller, "Is it four?")
        assert (await kept(mine, name, 2))["caller"] == "ann"  # what the secret says, whatever the page does
        assert (await other.get(f"/v1/conversations/{name}")).status_code == 404
        assert (await other.get("/v1/conversations")).json()["data"] == []
        assert (await other.delete(f"/v1/conversations/{name}")).status_code == 404
        assert (await other.delete("/v1/conversations", params={"caller": "ann"})).json()["deleted"] == 0
        for key, query in ((made[1], "?parley_caller=ann&"), (made[0], "?parley_caller=bob&"), (made[0], "?")):
            assert await refused(url, key, f"{query}parley_resume={name}") == (404, "not_found")
        async with dial(url, made[0], f"?parley_caller=ann&parley_resume={name}") as caller:
            assert (await caller.until("session.created"))["session"]["parley_conversation"] == name


@asynccontextmanager
async def dial(url: str, key: str, query: str) -> AsyncIterator[Caller]:
    """A call with a key."""
    headers = {"authorization": f"Bearer {key}"}
    address = f"ws{url.removeprefix('http')}/v1/realtime{query}"
    async with websockets.connect(address, additional_headers=headers, proxy=None) as socket:
        yield Caller(socket)


async def refused(url: str, key: str, query: str) -> tuple[int, str]:
    """Status and code of a refused call."""
    with pytest.raises(websockets.InvalidStatus) as failure:
        async with dial(url, key, query):
            pass
    response = failure.value.response
    return response.status_code, orjson.loads(response.body or b"")["error"]["code"]


async def test_what_is_deleted_during_a_call_stays_deleted(place: Place) -> None:
    async with place.served() as url, httpx.AsyncClient(base_url=url) as client:
        async with calling(url) as caller:
            name = await ask(caller, "Is it four?")
            before = await kept(client, name, 2)
            await caller.send("conversation.item.delete", item_id=before["items"][0]["id"])
            assert [item["role"] for item in (await kept(client, name, 1))["items"]] == ["assistant"]
            await client.delete(f"/v1/conversations/{name}")
            assert await ask(caller, "And now?") == name  # the call goes on
        assert (await client.get(f"/v1/conversations/{name}")).status_code == 404
        assert (await client.get("/v1/conversations")).json()["data"] == []


async def test_a_store_that_fails_ends_no_call(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    gone = "postgresql+pg8000://parley:database-password@127.0.0.1:1/none"
    async with place.served(store=gone) as url, httpx.AsyncClient(base_url=url) as client:
        before = (await scraped(url)).get("parley_store_failures_total", 0)
        async with calling(url) as caller:
            name = await ask(caller, "Is it four?")
            assert await ask(caller, "Is it five?") == name
        async with asyncio.timeout(60):
            while (await scraped(url))["parley_store_failures_total"] == before:
                await asyncio.sleep(0.01)
        answer = await client.get("/v1/conversations")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_unavailable")
        assert await refused(url, "unused", "?parley_resume=conv_1") == (503, "database_unavailable")
    assert "a conversation is not kept for now: the database of conversations cannot be used" in caplog.text
    assert "database-password" not in caplog.text + answer.text


async def test_nothing_is_kept_unless_the_operator_wants_it(place: Place) -> None:
    async with place.served(off=True) as url, httpx.AsyncClient(base_url=url) as client:
        async with calling(url, "?parley_caller=ann&parley_keep_audio=true") as caller:
            await ask(caller, "Is it four?")
        answer = await client.get("/v1/conversations")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "store_off")
        assert await refused(url, "unused", "?parley_resume=conv_1") == (404, "store_off")
    assert list(place.file.parent.iterdir()) == []
