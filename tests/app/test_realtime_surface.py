"""Less travelled parts of the Realtime protocol: transcription sessions, G.711, replies out of band, idle callers."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from app.audio import REALTIME_RATE
from app.g711 import FromTelephone, Law, ToTelephone
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, level_of
from tests.app.test_gateway import BY_HAND, QUESTION, TRANSCRIBED, call, text_item
from tests.realtime import Caller
from tests.sounds import flite, silence

DONE = "conversation.item.input_audio_transcription.completed"


async def refused(caller: Caller, type: str, **fields: Any) -> dict[str, Any]:
    """The one error that answers an event."""
    await caller.send(type, event_id="mine", **fields)
    error: dict[str, Any] = (await caller.until("error"))["error"]
    assert error["event_id"] == "mine"
    return error


async def test_a_transcription_session_hears_and_never_answers() -> None:
    async with call([QUESTION, QUESTION], query="?intent=transcription") as (caller, _):
        created = caller.all("session.created")[0]["session"]
        await caller.send("session.update", session={"type": "transcription", "audio": {"input": {}}})
        await caller.say(flite(QUESTION), then_silence=1.0)
        heard = await caller.until(DONE)
        wrong = await refused(caller, "session.update", session={"instructions": "Be brief."})
        other = await refused(caller, "session.update", session={"type": "realtime"})
        none = await refused(caller, "response.create")
        # What openai-agents does at the end, waiting for the answer to each.
        await caller.send("input_audio_buffer.commit", event_id="last")
        await caller.send("input_audio_buffer.clear")
        await caller.until("input_audio_buffer.cleared")
    assert set(created) == {"object", "type", "id", "expires_at", "audio", "include"}
    assert (created["object"], created["type"]) == ("realtime.transcription_session", "transcription")
    assert set(created["audio"]) == {"input"}
    assert heard["transcript"] == QUESTION
    assert (wrong["code"], wrong["param"]) == ("unknown_parameter", "session.instructions")
    assert other["param"] == "session.type"
    assert none["type"] == "invalid_request_error"
    assert caller.all("error")[-1]["error"]["event_id"] == "last"
    assert not caller.all("response.created")


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
async def test_a_telephone_is_heard_and_spoken_to_in_its_own_format(law: Law) -> None:
    async with call([QUESTION], ["It is four."]) as (caller, workers):
        audio = {"input": {"format": {"type": law}}, "output": {"format": {"type": law}}}
        await caller.send("session.update", session={"audio": audio})
        told = (await caller.until("session.updated"))["session"]["audio"]
        line = ToTelephone(law).feed(flite(QUESTION) + silence(1.0), last=True)
        for start in range(0, len(line), 160):
            piece = base64.b64encode(line[start : start + 160]).decode()
            await caller.send("input_audio_buffer.append", audio=piece)
        done = await caller.until("response.done")
    assert told["input"]["format"] == told["output"]["format"] == {"type": law}
    assert isinstance(workers.recognizer, ScriptedRecognizer)
    seconds = len(flite(QUESTION)) / 2 / REALTIME_RATE
    assert len(workers.recognizer.heard[0]) / 32_000 == pytest.approx(seconds + 0.5, abs=0.5)
    assert np.abs(np.frombuffer(workers.recognizer.heard[0], "<i2")).max() > 3000
    answer = b"".join(base64.b64decode(event["delta"]) for event in caller.all("response.output_audio.delta"))
    assert len(answer) == pytest.approx(len("It is four.") * 1200 / 3, abs=2)
    level = np.frombuffer(FromTelephone(law).feed(answer), "<i2")
    assert np.median(level) == pytest.approx(level_of("It is four."), rel=0.05)
    assert done["response"]["audio"]["output"]["format"] == {"type": law}


async def test_the_format_may_change_within_a_session() -> None:
    async with call([QUESTION]) as (caller, _):
        await caller.send("session.update", session=BY_HAND)
        await caller.say(flite(QUESTION))
        await caller.send("session.update", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}}})
        await caller.send("input_audio_buffer.append", audio=base64.b64encode(b"\xff" * 801).decode())
        await caller.send("session.update", session={"audio": {"input": {"format": {"type": "audio/pcm"}}}})
        odd = await refused(caller, "input_audio_buffer.append", audio=base64.b64encode(b"\xff" * 801).decode())
        await caller.send("input_audio_buffer.commit")
        heard = await caller.until(DONE)
    assert odd["param"] == "audio"
    assert heard["transcript"] == QUESTION


async def test_a_reply_out_of_band_runs_beside_the_conversations() -> None:
    replies: list[Any] = [["Once upon a time. ", HOLD], "Sports.", "Fine."]
    async with call(replies=replies) as (caller, workers):
        await caller.send("conversation.item.create", item=text_item("a story"))
        await caller.send("response.create")
        main = (await caller.until("response.created"))["response"]
        await caller.until("response.output_audio_transcript.delta")
        aside = {"conversation": "none", "output_modalities": ["text"], "metadata": {"topic": "label"}}
        asked = [text_item("classify: we won the match")]
        await caller.send("response.create", response={**aside, "input": asked, "instructions": "One word."})
        label = (await caller.until("response.done"))["response"]
        await caller.send("response.cancel", response_id=main["id"])
        cancelled = (await caller.until("response.done"))["response"]
        await caller.send("response.create")
        done = (await caller.until("response.done"))["response"]
    assert (label["status"], label["conversation_id"], label["metadata"]) == ("completed", None, {"topic": "label"})
    assert label["output"][0]["content"][0]["text"] == "Sports."
    assert (cancelled["id"], cancelled["status"]) == (main["id"], "cancelled")
    assert done["status"] == "completed"
    ids = {event["item"]["id"] for event in caller.all("conversation.item.added")}
    assert label["output"][0]["id"] not in ids
    assert isinstance(workers.language, ScriptedLanguage)
    assert [message["content"] for message in workers.language.requests[1].messages] == [
        "One word.",
        "classify: we won the match",
    ]
    assert not caller.all("error")


async def test_a_reply_out_of_band_is_cancelled_by_its_id_alone() -> None:
    async with call(replies=[["Well, ", HOLD], "Fine."]) as (caller, workers):
        await caller.send("response.create", response={"conversation": "none", "input": [text_item("hello")]})
        aside = (await caller.until("response.created"))["response"]
        none = await refused(caller, "response.cancel")
        await caller.send("response.cancel", response_id=aside["id"])
        done = (await caller.until("response.done"))["response"]
        await caller.send("response.create")
        assert (await caller.until("response.done"))["response"]["status"] == "completed"
    assert none["code"] == "response_cancel_not_active"
    assert (done["id"], done["status_details"]["reason"]) == (aside["id"], "client_cancelled")
    assert isinstance(workers.language, ScriptedLanguage)
    assert workers.language.cancelled == 1


async def test_replies_out_of_band_are_bounded() -> None:
    async with call(replies=[[HOLD]] * 9) as (caller, _):
        for _ in range(8):
            await caller.send("response.create", response={"conversation": "none", "input": [text_item("hello")]})
        error = await refused(caller, "response.create", response={"conversation": "none"})
    assert error["code"] == "conversation_already_has_active_response"
    assert len(caller.all("response.created")) == 8


async def test_an_item_with_audio_is_transcribed_before_the_reply() -> None:
    part = {"type": "input_audio", "audio": base64.b64encode(flite(QUESTION)).decode()}
    async with call([QUESTION], ["Four."]) as (caller, workers):
        await caller.send("session.update", session=TRANSCRIBED)
        await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
        await caller.send("response.create")
        await caller.until("response.done")
        item = caller.all("conversation.item.added")[0]["item"]
        await caller.send("conversation.item.retrieve", item_id=item["id"])
        kept = (await caller.until("conversation.item.retrieved"))["item"]
    assert item["content"] == [{"type": "input_audio", "transcript": None}]
    assert kept["content"] == [{"type": "input_audio", "transcript": QUESTION}]
    assert caller.all(DONE)[0]["item_id"] == item["id"]
    assert isinstance(workers.language, ScriptedLanguage)
    assert workers.language.requests[0].messages[-1] == {"role": "user", "content": QUESTION}


async def test_a_silent_caller_is_spoken_to_after_the_idle_timeout() -> None:
    detection = {"type": "server_vad", "idle_timeout_ms": 2000}
    async with call(replies=["Hi.", "Are you there?"]) as (caller, _):
        await caller.send("session.update", session={"audio": {"input": {"turn_detection": detection}}})
        await caller.say(silence(3.0))  # nobody has spoken yet: there is no answer to wait after
        await caller.send("conversation.item.create", item=text_item("hello"))
        await caller.send("response.create")
        await caller.until("response.done")
        for _ in range(200):  # the reply must be heard first: 150 ms by the clock
            await caller.say(silence(0.5))
            await caller.send("conversation.item.retrieve", item_id="x")
            await caller.until("error")
            if caller.all("input_audio_buffer.timeout_triggered"):
                break
        while len(caller.all("response.done")) < 2:
            await caller.next()
    (idle,) = caller.all("input_audio_buffer.timeout_triggered")[:1]
    assert idle["audio_end_ms"] - idle["audio_start_ms"] == pytest.approx(2000, abs=40)
    assert idle["audio_start_ms"] >= 2900
    order = caller.types()
    first = order.index("input_audio_buffer.timeout_triggered")
    assert order[first + 1 : first + 4] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert caller.all("response.done")[1]["response"]["status"] == "completed"


async def test_a_reply_may_have_a_format_and_tools_of_its_own() -> None:
    async with call(replies=["Hi."]) as (caller, _):
        for response, param in [
            ({"tool_choice": "required"}, "response.tool_choice"),
            ({"tool_choice": {"type": "function", "name": "no"}}, "response.tool_choice"),
            ({"tool_choice": "perhaps"}, "response.tool_choice"),
            ({"tools": [{"type": "mcp"}]}, "response.tools.0"),
            ({"audio": {"output": {"voice": "nobody"}}}, "voice"),
            ({"audio": {"output": {"format": {"type": "mp3"}}}}, "response.audio.output.format.type"),
            ({"metadata": {"a" * 65: "b"}}, None),
            ({"metadata": {str(n): "b" for n in range(17)}}, "response.metadata"),
            ({"conversation": "other"}, "response.conversation"),
        ]:
            error = await refused(caller, "response.create", response=response)
            assert param is None or error["param"].startswith(param), error
        await caller.send("response.create", response={"audio": {"output": {"format": {"type": "audio/pcma"}}}})
        done = await caller.until("response.done")
        again = await refused(caller, "session.update", session={"audio": {"output": {"voice": "scripted"}}})
    assert done["response"]["audio"]["output"] == {"format": {"type": "audio/pcma"}, "voice": "alloy"}
    assert again["code"] == "cannot_update_voice"


async def test_a_refused_truncation_leaves_the_reply_running() -> None:
    async with call(replies=[["Once upon a time. ", HOLD]]) as (caller, _):
        await caller.send("conversation.item.create", item=text_item("a story"))
        await caller.send("response.create")
        item = (await caller.until("response.output_audio.delta"))["item_id"]
        await refused(caller, "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=600_000)
        await refused(caller, "conversation.item.truncate", item_id=item, content_index=1, audio_end_ms=0)
        assert not caller.all("response.done")
        await caller.send("response.cancel")
        done = await caller.until("response.done")
    assert done["response"]["status_details"]["reason"] == "client_cancelled"
