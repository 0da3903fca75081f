"""Rows about what clients send."""

from __future__ import annotations

import asyncio
import base64

from app.errors import WorkerError, WorkerUnavailable
from app.workers.base import ToolCall
from app.workers.scripted import HOLD
from tests.realtime import calling
from tests.soak.service import called, item, one_end_each, settled, soaked, turn
from tests.sounds import flite, silence

BY_HAND = {"audio": {"input": {"turn_detection": None}}}


def b64(pcm: bytes) -> str:
    return base64.b64encode(pcm).decode()


async def burst_of_responses() -> str:
    """response.create 100 times in one burst"""
    async with called([["Well, ", HOLD], "Yes."]) as (caller, _):
        for _ in range(100):
            await caller.send("response.create")
        await caller.send("response.cancel")
        await settled(caller)
        refused = [error for error in caller.all("error") if error["error"]["event_id"] != "settled"]
        await turn(caller)
        begun = one_end_each(caller)
    assert (begun, len(refused)) == (2, 99)
    return "1 began, 99 were refused, the next turn worked"


async def create_and_cancel() -> str:
    """create, cancel, create, 100 times"""
    # No script of a hundred: a reply that is cancelled at once never asks the language model for its own.
    async with called(["Yes, and so on. " * 20], repeat=True) as (caller, _):
        for _ in range(100):
            await caller.send("response.create")
            await caller.send("response.cancel")
        await settled(caller)
        await turn(caller)
        begun = one_end_each(caller)
    assert begun == 101
    return f"{begun} responses with one end each"


async def barge_in_storm() -> str:
    """barge-in storm: speech and silence, 200 ms each, 60 times"""
    async with called(["Yes, and so on. " * 20], repeat=True) as (caller, _):
        detection = {"type": "server_vad", "silence_duration_ms": 100, "prefix_padding_ms": 0}
        await caller.send("session.update", session={"audio": {"input": {"turn_detection": detection}}})
        speech = flite("tell me more about it")[9600:19_200]
        for _ in range(60):
            await caller.say(speech, then_silence=0.2)
        await caller.say(silence(1.0))
        await settled(caller)
        await caller.send("response.cancel")
        await settled(caller)
        begun = one_end_each(caller)
        await turn(caller)
    assert begun > 1
    return f"{begun} responses with one end each, the next turn worked"


async def append_flood() -> str:
    """append flood: 10 minutes of audio as fast as they are taken, while another caller has a turn"""
    async with soaked() as (url, _), calling(url) as flooding, calling(url) as other:
        flood = asyncio.create_task(flooding.say(silence(600)))
        await turn(other)
        await flood
        await turn(flooding)
    return "both callers' turns worked"


async def one_sample_per_frame() -> str:
    """append with one sample each, 5,000 times"""
    async with called() as (caller, _):
        await caller.send("session.update", session=BY_HAND)
        for _ in range(5000):
            await caller.send("input_audio_buffer.append", audio="AAA=")
        await caller.send("input_audio_buffer.commit")
        await caller.until("input_audio_buffer.committed")
        await turn(caller)
        assert not caller.all("error")
    return "208 ms of audio committed, no error"


async def format_switch() -> str:
    """format switched in mid-buffer, 50 times"""
    async with called() as (caller, _):
        await caller.send("session.update", session=BY_HAND)
        for number in range(50):
            kind = ("audio/pcm", "audio/pcmu", "audio/pcma")[number % 3]
            await caller.send("session.update", session={"audio": {"input": {"format": {"type": kind}}}})
            await caller.send("input_audio_buffer.append", audio=b64(silence(0.1)))
        await caller.send("input_audio_buffer.commit")
        await caller.until("input_audio_buffer.committed")
        await turn(caller)
        assert not caller.all("error")
    return "all of it committed, no error"


async def item_under_way() -> str:
    """truncate, then delete, the item that is being spoken; delete one that a response refers to"""
    async with called([["Once upon a time. ", HOLD], ["Well, ", HOLD], "Yes."]) as (caller, _):
        await caller.send("response.create")
        spoken = (await caller.until("response.output_audio.delta"))["item_id"]
        await caller.send("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=0)
        await caller.until("conversation.item.truncated")
        await caller.send("response.create")
        spoken = (await caller.until("response.output_item.added"))["item"]["id"]
        await caller.send("conversation.item.delete", item_id=spoken)
        await caller.until("conversation.item.deleted")
        await caller.send("response.cancel")
        await caller.send("conversation.item.create", item=item(id="asked"))
        await caller.send("response.create")
        await caller.send("conversation.item.delete", item_id="asked")
        while len(caller.all("response.done")) < 3:
            await caller.next()
        begun = one_end_each(caller)
    return f"{begun} responses with one end each, the session lives"


async def huge_instructions() -> str:
    """1 MB of instructions and 2,000 tools"""
    tools = [{"type": "function", "name": f"tool_{n}", "parameters": {"type": "object"}} for n in range(2000)]
    async with called() as (caller, _):
        await caller.send("session.update", session={"instructions": "Be kind. " * 110_000, "tools": tools})
        updated = await caller.until("session.updated")
        await turn(caller)
    return f"taken and read back ({len(updated['session']['tools'])} tools), the next turn worked"


async def workers_down() -> str:
    """recognizer, language model and voice down in mid-turn"""
    replies = [WorkerUnavailable("gone"), ["Well, ", WorkerError("gone")], "Speak of the devil.", "Yes."]
    async with called(replies, fails_on="devil") as (caller, _):
        for _ in range(3):
            await caller.send("response.create")
            assert (await caller.until("response.done"))["response"]["status"] == "failed"
        await turn(caller)
        assert not caller.all("error")
    return "three failed responses with their errors, then an ordinary turn"


async def calls_without_results() -> str:
    """50 function calls whose results never come"""
    tool = {"type": "function", "name": "look", "parameters": {"type": "object"}}
    replies = [[ToolCall(f"call_{number}", "look", "{}")] for number in range(50)]
    async with called([*replies, "Yes."]) as (caller, _):
        await caller.send("session.update", session={"tools": [tool]})
        for _ in range(50):
            await caller.send("response.create")
            await caller.until("response.done")
        await turn(caller)
    return "the next turn worked"


ROWS = [
    burst_of_responses, create_and_cancel, barge_in_storm, append_flood, one_sample_per_frame, format_switch,
    item_under_way, huge_instructions, workers_down, calls_without_results,
]  # fmt: skip
