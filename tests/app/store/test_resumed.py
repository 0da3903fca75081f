"""Calls that were lost and go on: in another process, once only, and for a minute."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import websockets

from app.gateway import create_app
from app.speaking import Workers
from app.store.store import conversations_database
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.app.store.test_conversations import Place, ask, kept, refused
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_lost_call_goes_on_in_another_process(place: Place) -> None:
    replies = ["Yes.", ["Once upon", HOLD]]
    async with place.served(replies=replies) as url, httpx.AsyncClient(base_url=url) as client:
        async with calling(url) as caller:
            await caller.send("session.update", session={"instructions": "Be a pirate.", "output_modalities": ["text"]})
            name = await ask(caller, "Is it four?")
            await caller.send("response.create")
            await caller.until("response.output_text.delta")  # lost in the middle of a reply
        await kept(client, name, 3)
    language = ScriptedLanguage(["Ahoy."])
    workers = Workers(ScriptedRecognizer([]), language, ScriptedSynthesizer())
    database = conversations_database(str(place.file))
    async with serving(create_app(SCRIPTED, workers, conversations=database)) as url:
        async with calling(url, f"?parley_resume={name}") as caller:
            session = caller.log[0]["session"]
            assert (session["instructions"], session["output_modalities"]) == ("Be a pirate.", ["text"])
            assert await ask(caller, "And now?") == name
            assert caller.all("conversation.item.added")[0]["previous_item_id"] is not None
        messages = [(message["role"], message["content"]) for message in language.requests[0].messages]
        assert messages == [
            ("system", "Be a pirate."), ("user", "Is it four?"), ("assistant", "Yes."), ("assistant", "Once upon"),
            ("user", "And now?"),
        ]  # fmt: skip
        async with httpx.AsyncClient(base_url=url) as client:
            found = await kept(client, name, 5)
    assert [item["status"] for item in found["items"]] == [
        "completed",
        "completed",
        "incomplete",
        "completed",
        "completed",
    ]
    database.close()


async def test_a_call_that_was_taken_over_ends(place: Place) -> None:
    async with place.served() as url, httpx.AsyncClient(base_url=url) as client:
        async with calling(url) as lost:
            name = await ask(lost, "Is it four?")
            await kept(client, name, 2)
            async with calling(url, f"?parley_resume={name}") as caller:
                await ask(caller, "And now?")
                await kept(client, name, 4)
                await ask(lost, "Is anybody there?")
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await lost.until("never")
                assert await ask(caller, "Still here?") == name
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
                1008,
                "Another call goes on with this conversation",
            )
            assert lost.log[-1]["error"]["code"] == "resumed_elsewhere"
        texts = [item["content"][0]["text"] for item in (await kept(client, name, 6))["items"]]
    assert texts[::2] == ["Is it four?", "And now?", "Still here?"]


async def test_a_minute_later_it_is_too_late(place: Place) -> None:
    async with place.served() as url, httpx.AsyncClient(base_url=url) as client:
        async with calling(url) as caller:
            name = await ask(caller, "Is it four?")
        await kept(client, name, 2)
        await asyncio.to_thread(age, place, 61)
        assert await refused(url, "unused", f"?parley_resume={name}") == (404, "resume_expired")
        assert await refused(url, "unused", "?parley_resume=conv_none") == (404, "not_found")
        for odd in ("x" * 129, "%00"):
            assert await refused(url, "unused", f"?parley_caller={odd}") == (400, "invalid_value")


def age(place: Place, seconds: float) -> None:
    """Puts all calls into the past."""
    database = conversations_database(str(place.file))
    with database.session() as session:
        session.connection().exec_driver_sql(f"UPDATE conversations SET seen_at = seen_at - {seconds}")
    database.close()
