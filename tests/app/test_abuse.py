"""Bad input to a live session: one error each, and an ordinary turn afterwards."""

from __future__ import annotations

import base64
import json

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from app.workers.scripted import HOLD
from tests.app.test_gateway import BY_HAND, QUESTION, call, text_item
from tests.realtime import Caller
from tests.sounds import flite, silence

BAD_FRAMES = [
    "{",
    "[]",
    "{}",
    '{"type": 3}',
    '{"type": "no.such.event"}',
    '{"type": "response.done"}',
    '{"type": "input_audio_buffer.append"}',
    '{"type": "input_audio_buffer.append", "audio": 5}',
    '{"type": "input_audio_buffer.append", "audio": "!!!"}',
    '{"type": "input_audio_buffer.append", "audio": "YQ=="}',
    '{"type": "input_audio_buffer.commit"}',
    '{"type": "session.update", "session": []}',
    '{"type": "session.update", "session": {"surprise": true}}',
    '{"type": "session.update", "session": {"model": "another"}}',
    '{"type": "session.update", "session": {"audio": {"output": {"voice": "nobody"}}}}',
    '{"type": "response.cancel"}',
    '{"type": "conversation.item.create", "item": {}}',
    '{"type": "conversation.item.create", "item": {"type": "message", "role": "ghost", "content": []}}',
    '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": "hello"}}',
    '{"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "x", "output": "1"}}',
    '{"type": "conversation.item.create", "previous_item_id": "x", '
    '"item": {"type": "message", "role": "user", "content": []}}',
    '{"type": "conversation.item.retrieve", "item_id": "x"}',
    '{"type": "conversation.item.delete", "item_id": "x"}',
    '{"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 0}',
    '{"type": "output_audio_buffer.clear"}',
    '{"a":' * 2000 + "1" + "}" * 2000,
]


async def send_and_listen(socket: ClientConnection, frame: str) -> None:
    """Until the socket is closed."""
    await socket.send(frame)
    async for _ in socket:
        pass
    await socket.recv()


async def works(caller: Caller) -> None:
    """An ordinary turn."""
    await caller.send("conversation.item.create", item=text_item("hello"))
    await caller.send("response.create")
    done = await caller.until("response.done")
    assert done["response"]["status"] == "completed"


async def test_each_bad_frame_gets_one_error_and_an_ordinary_turn_follows() -> None:
    frames: list[str | bytes] = [*BAD_FRAMES, b"binary"]
    async with call(replies=["Hello."] * len(frames)) as (caller, _):
        for frame in frames:
            await caller.send_raw(frame)
            assert (await caller.next())["type"] == "error", frame
            await works(caller)
    assert len(caller.all("error")) == len(frames)


async def test_what_a_user_said_cannot_be_truncated() -> None:
    async with call(replies=["Hello."]) as (caller, _):
        await caller.send("conversation.item.create", item=text_item("hello"))
        item = (await caller.until("conversation.item.done"))["item"]["id"]
        await caller.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0)
        error = await caller.until("error")
        await works(caller)
    assert error["error"]["code"] == "item_truncate_invalid_item_id"


async def test_four_minutes_in_one_event_are_taken() -> None:
    async with call([QUESTION], ["Hello."]) as (caller, _):
        await caller.send("session.update", session=BY_HAND)
        await caller.until("session.updated")
        await caller.send("input_audio_buffer.append", audio=base64.b64encode(bytes(12_000_000)).decode())
        await caller.send("input_audio_buffer.commit")
        await caller.until("conversation.item.input_audio_transcription.completed")
        await works(caller)
    assert not caller.all("error")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ('{"type": "response.cancel", "event_id": "mine"}', "response_cancel_not_active"),
        ('{"type": "input_audio_buffer.commit", "event_id": "mine"}', "input_audio_buffer_commit_empty"),
        (
            '{"type": "conversation.item.retrieve", "item_id": "x", "event_id": "mine"}',
            "item_retrieve_invalid_item_id",
        ),
        ('{"type": "conversation.item.delete", "item_id": "x", "event_id": "mine"}', "item_delete_invalid_item_id"),
    ],
)
async def test_codes_that_clients_test(frame: str, code: str) -> None:
    async with call() as (caller, _):
        await caller.send_raw(frame)
        error = await caller.until("error")
    assert (error["error"]["code"], error["error"]["event_id"]) == (code, "mine")


async def test_a_second_response_while_one_runs_is_refused() -> None:
    async with call(replies=[["Well, ", HOLD], "Hello."]) as (caller, _):
        await caller.send("conversation.item.create", item=text_item("hello"))
        await caller.send("response.create")
        await caller.send("response.create", event_id="second")
        error = await caller.until("error")
        await caller.send("response.cancel")
        await caller.until("response.done")
        await works(caller)
    assert error["error"]["code"] == "conversation_already_has_active_response"


async def test_a_duplicate_item_is_refused() -> None:
    async with call() as (caller, _):
        item = {"id": "mine", **text_item("hello")}
        await caller.send("conversation.item.create", item=item)
        await caller.until("conversation.item.done")
        await caller.send("conversation.item.create", item=item)
        error = await caller.until("error")
    assert error["error"]["code"] == "item_create_duplicate_item_id"


async def test_an_endless_uncommitted_buffer_is_bounded() -> None:
    async with call([QUESTION, QUESTION], ["Hello."]) as (caller, _):
        await caller.send("session.update", session=BY_HAND)
        await caller.say(silence(95))
        error = await caller.until("error")
        await caller.send("input_audio_buffer.clear")
        await caller.until("input_audio_buffer.cleared")
        await caller.say(flite(QUESTION))
        await caller.send("input_audio_buffer.commit")
        await caller.until("conversation.item.input_audio_transcription.completed")
    assert error["error"]["code"] == "input_audio_buffer_full"
    assert len(caller.all("error")) == 1


async def test_an_oversized_frame_closes_that_socket_alone() -> None:
    async with call(replies=["Hello."]) as (caller, _):
        host, port = caller._socket.remote_address[:2]
        async with connect(f"ws://{host}:{port}/v1/realtime", max_size=None, proxy=None) as other:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await send_and_listen(other, "A" * 40 * 1024 * 1024)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        await works(caller)


async def test_a_flood_of_events_is_answered_and_survived() -> None:
    async with call(replies=["Hello."]) as (caller, _):
        for _ in range(200):
            await caller.send("no.such.event")
        for _ in range(200):
            assert (await caller.next())["type"] == "error"
        await works(caller)


async def test_a_storm_of_create_and_cancel_gives_each_response_one_end() -> None:
    async with call(replies=[["Well, ", "on and on. "] for _ in range(60)]) as (caller, _):
        await caller.send("conversation.item.create", item=text_item("hello"))
        for _ in range(50):
            await caller.send("response.create")
            await caller.until("response.created")
            await caller.send("response.cancel")
        await caller.send("conversation.item.retrieve", item_id="end of the storm")
        while not any(e["error"]["code"] == "item_retrieve_invalid_item_id" for e in caller.all("error")):
            await caller.next()
    created = [event["response"]["id"] for event in caller.all("response.created")]
    done = [event["response"]["id"] for event in caller.all("response.done")]
    assert len(created) == 50
    assert sorted(created) == sorted(done)


async def test_an_unknown_model_is_a_404_before_the_upgrade() -> None:
    async with call() as (caller, _):
        host, port = caller._socket.remote_address[:2]
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(f"ws://{host}:{port}/v1/realtime?model=nobody", proxy=None)
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body)["error"]["code"] == "model_not_found"
