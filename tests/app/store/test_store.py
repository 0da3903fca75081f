"""The database of conversations, the same on SQLite and on a real PostgreSQL; and what of a call is written there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import server_events as out
from app.conversation import Conversation, Item
from app.database import Database
from app.errors import DatabaseUnavailable, NotFound, ResumedElsewhere
from app.server_events import new_id
from app.store import store
from app.store.recorder import Recorder, restored
from app.store.store import conversations_database

CONFIG: dict[str, Any] = {"id": "sess_1", "model": "scripted", "audio": {"output": {"format": {"type": "audio/pcm"}}}}
SECOND = "AAAA" * 16_000  # 24,000 samples of silence, base64


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    place = request.getfixturevalue("postgres") if request.param == "postgres" else str(tmp_path / "store.sqlite")
    with closing(conversations_database(place)) as opened:
        yield opened


def said(role: str, text: str, **fields: Any) -> Item:
    kind = "input_text" if role == "user" else "output_audio"
    part = {"type": kind, "text" if role == "user" else "transcript": text}
    return Item(new_id("item"), "message", role=role, content=[part], **fields)


def recorder(
    database: Database, conversation: Conversation, name: str, session: str = "sess_1", **more: Any
) -> Recorder:
    made = Recorder(
        database, conversation, name=name, key="key_1", caller_id="ann", session=session,
        keeps_audio=more.pop("keeps_audio", False), **more,
    )  # fmt: skip
    made.sent(out.SessionCreated(CONFIG))
    return made


async def test_a_reply_that_was_interrupted_is_kept_as_far_as_it_was_heard(database: Database) -> None:
    conversation, name = Conversation(), new_id("conv")
    reply = said("assistant", "Once upon a time", audio_ms=1000, marks=[(5, 300.0), (16, 1000.0)])
    keeping = recorder(database, conversation, name, keeps_audio=True)
    async with keeping:
        conversation.append(reply)
        keeping.sent(out.ItemAdded(None, reply.dump()))
        keeping.sent(out.AudioDelta("resp_1", 0, reply.id, 0, SECOND))
        keeping.sent(out.AudioDelta("resp_2", 0, "item_out_of_band", 0, SECOND))
        keeping.sent(out.ItemDone(None, reply.dump()))
        await keeping.write()
        with database.session() as session:
            assert len(store.audio_of(session, name, reply.id)[0]) == 48_000
        conversation.truncate(reply.id, 0, 400)
        keeping.sent(out.ItemTruncated(reply.id, 0, 400))
    with database.session() as session:
        found = store.exported(session, store.find(session, name, "key_1"))
        assert found["items"][0]["content"][0]["transcript"] == "Once"
        assert len(store.audio_of(session, name, reply.id)[0]) == 400 * 48
        with pytest.raises(NotFound, match="no audio is kept of item 'item_out_of_band'"):
            store.audio_of(session, name, "item_out_of_band")


async def test_a_resumed_conversation_is_the_old_one(database: Database) -> None:
    conversation, name = Conversation(), new_id("conv")
    call = Item(new_id("item"), "function_call", name="get_time", call_id="call_1", arguments="{}")
    result = Item(new_id("item"), "function_call_output", call_id="call_1", output="four")
    hidden = [{"role": "tool", "tool_call_id": "call_0", "content": "4"}]
    answer = said("assistant", "Four.", audio_ms=700, marks=[(5, 700.0)], hidden=hidden)
    lost = said("assistant", "And now", status="in_progress")
    items = [said("user", "What time is it?"), call, result, answer, lost]
    keeping = recorder(database, conversation, name)
    async with keeping:
        for item in items:
            conversation.append(item)
    row, rows = await database.run(lambda session: store.resume(session, name, "key_1", "ann", "sess_2"))
    again = list(restored(rows))
    lost.status = "incomplete"
    assert again == items
    assert row.config["model"] == "scripted"
    async with recorder(database, restored(rows), name, "sess_2", kept=rows):
        pass
    conversation.append(said("user", "Hello?"))
    with pytest.raises(ResumedElsewhere, match="Another call goes on"):
        await keeping.write()
    await keeping.write()  # it is over, and said once
    with database.session() as session:
        assert [item.body for item in store.items_of(session, name)] == [item.dump() for item in items]


async def test_a_store_that_comes_back_gets_what_was_missing(tmp_path: Path) -> None:
    place = tmp_path / "a file" / "store.sqlite"
    place.parent.write_text("where the folder should be")
    conversation, name = Conversation(), new_id("conv")
    with closing(conversations_database(str(place))) as database:
        keeping = recorder(database, conversation, name)
        conversation.append(said("user", "Hello?"))
        await keeping.write()
        with (
            pytest.raises(DatabaseUnavailable, match="the database of conversations cannot be used"),
            database.session(),
        ):
            pass
        place.parent.unlink()
        async with keeping:
            pass
        with database.session() as session:
            assert len(store.items_of(session, name)) == 1
