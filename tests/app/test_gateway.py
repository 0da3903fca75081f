"""Turns over a real server with scripted workers: VAD, push to talk, text, barge-in, cancel, truncation."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.errors import WorkerError, WorkerUnavailable
from app.gateway import GatewayOptions, create_app
from app.speaking import Workers
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.realtime import Caller, calling
from tests.serving import serving
from tests.sounds import flite, silence

QUESTION = "what time is it"
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
BY_HAND = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}}


@asynccontextmanager
async def call(
    heard: list[str | Exception] | None = None, replies: list[Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Caller, Workers]]:
    """A caller of a service whose workers are scripted."""
    workers = Workers(
        ScriptedRecognizer(heard or []),
        ScriptedLanguage(replies or []),
        ScriptedSynthesizer(fails_on=options.pop("fails_on", "")),
    )
    gateway = GatewayOptions(audio_ahead_seconds=options.pop("ahead", 1000.0))
    app = create_app(SCRIPTED, workers, options=gateway)
    async with serving(app) as url, calling(url, options.pop("query", "")) as caller:
        yield caller, workers


async def test_a_spoken_turn_is_told_in_the_order_of_the_protocol() -> None:
    async with call([QUESTION], ["It is ten past four."]) as (caller, _):
        await caller.send("session.update", session=TRANSCRIBED)
        await caller.say(flite(QUESTION), then_silence=1.0)
        done = await caller.until("response.done")
    assert [type for type in caller.types() if not type.endswith(".delta")] == [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    order = caller.types()
    assert order.index("response.content_part.added") < order.index("response.output_audio_transcript.delta")
    assert order[order.index("response.output_audio.done") - 1] == "response.output_audio.delta"
    assert done["response"]["status"] == "completed"
    assert done["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "It is ten past four."}]
    user, assistant = caller.all("conversation.item.added")
    assert user["previous_item_id"] is None
    assert assistant["previous_item_id"] == user["item"]["id"]


async def test_deltas_add_up_to_what_is_done() -> None:
    async with call([QUESTION], ["Well, it is ten past four. Anything else?"]) as (caller, _):
        await caller.send("session.update", session=TRANSCRIBED)
        await caller.say(flite(QUESTION), then_silence=1.0)
        await caller.until("response.done")
    words = "conversation.item.input_audio_transcription"
    assert caller.text(f"{words}.delta").strip() == caller.all(f"{words}.completed")[0]["transcript"] == QUESTION
    spoken = caller.all("response.output_audio_transcript.done")[0]["transcript"]
    assert caller.text("response.output_audio_transcript.delta") == spoken
    assert spoken == "Well, it is ten past four. Anything else?"


async def test_speech_times_are_offsets_in_the_audio_heard() -> None:
    async with call([QUESTION], ["Four."]) as (caller, workers):
        await caller.say(silence(1.0) + flite(QUESTION), then_silence=1.5)
        await caller.until("response.done")
    started = caller.all("input_audio_buffer.speech_started")[0]["audio_start_ms"]
    stopped = caller.all("input_audio_buffer.speech_stopped")[0]["audio_end_ms"]
    seconds = len(flite(QUESTION)) / 48_000
    assert 600 <= started <= 1100  # 300 ms of padding before the first word
    assert stopped == pytest.approx(1000 + seconds * 1000, abs=250)
    assert isinstance(workers.recognizer, ScriptedRecognizer)
    assert len(workers.recognizer.heard[0]) / 32_000 == pytest.approx((stopped - started) / 1000 + 0.5, abs=0.1)


async def test_push_to_talk_waits_for_commit_and_for_response_create() -> None:
    async with call([QUESTION], ["Four."]) as (caller, workers):
        await caller.send("session.update", session=BY_HAND)
        await caller.say(flite(QUESTION), then_silence=2.0)
        await caller.send("input_audio_buffer.commit")
        await caller.send("response.create")
        await caller.until("response.done")
    assert "input_audio_buffer.speech_started" not in caller.types()
    assert caller.types().index("input_audio_buffer.committed") < caller.types().index("response.created")
    assert isinstance(workers.language, ScriptedLanguage)
    assert workers.language.requests[0].messages[-1] == {"role": "user", "content": QUESTION}


async def test_a_typed_question_gets_a_written_answer() -> None:
    async with call(replies=["It is four."]) as (caller, workers):
        await caller.send("conversation.item.create", item=text_item("What time is it?"))
        await caller.send("response.create", response={"output_modalities": ["text"], "metadata": {"a": "b"}})
        done = await caller.until("response.done")
    assert caller.text("response.output_text.delta") == "It is four."
    assert caller.all("response.content_part.added")[0]["part"] == {"type": "text", "text": ""}
    assert done["response"]["metadata"] == {"a": "b"}
    assert done["response"]["usage"]["total_tokens"] > 0
    assert isinstance(workers.language, ScriptedLanguage)
    assert workers.language.requests[0].messages[0] == {"role": "system", "content": "Be brief."}


async def test_speaking_over_a_reply_cancels_it_at_every_stage() -> None:
    async with call([QUESTION, "stop"], [["Once upon a time there was a fox. ", HOLD], "Fine."]) as (caller, workers):
        await caller.say(flite(QUESTION), then_silence=1.0)
        await caller.until("response.output_audio.delta")
        await caller.say(flite("stop it now please"), then_silence=1.0)
        first = await caller.until("response.done")
        second = await caller.until("response.done")
    assert first["response"]["status"] == "cancelled"
    assert first["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert first["response"]["output"][0]["status"] == "incomplete"
    assert second["response"]["status"] == "completed"
    after = caller.log[caller.log.index(first) + 1 :]
    assert all(event.get("response_id") != first["response"]["id"] for event in after)
    assert isinstance(workers.language, ScriptedLanguage)
    assert workers.language.cancelled == 1
    order = caller.types()
    assert order.index("response.done") > order.index("input_audio_buffer.speech_started", 3)


async def test_truncation_keeps_exactly_the_words_heard() -> None:
    async with call(replies=["One two three four five.", "Fine."]) as (caller, workers):
        await caller.send("conversation.item.create", item=text_item("count"))
        await caller.send("response.create")
        done = await caller.until("response.done")
        item = done["response"]["output"][0]["id"]
        # The scripted voice speaks 50 ms a character: "One two three" is 13 characters, 650 ms.
        await caller.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=660)
        await caller.until("conversation.item.truncated")
        await caller.send("conversation.item.retrieve", item_id=item)
        kept = await caller.until("conversation.item.retrieved")
        await caller.send("conversation.item.create", item=text_item("go on"))
        await caller.send("response.create")
        await caller.until("response.done")
    assert kept["item"]["content"][0]["transcript"] == "One two three"
    assert isinstance(workers.language, ScriptedLanguage)
    assert workers.language.requests[1].messages[2] == {"role": "assistant", "content": "One two three"}


async def test_truncation_beyond_the_audio_is_refused_and_a_small_overshoot_is_not() -> None:
    async with call(replies=["One two."]) as (caller, _):
        await caller.send("conversation.item.create", item=text_item("count"))
        await caller.send("response.create")
        item = (await caller.until("response.done"))["response"]["output"][0]["id"]
        await caller.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=450)
        await caller.until("conversation.item.truncated")
        await caller.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=60_000)
        error = await caller.until("error")
    assert "is already shorter than 60000ms" in error["error"]["message"]


async def test_cancel_stops_the_reply_and_the_next_one_works() -> None:
    async with call(replies=[["Once upon a time. ", HOLD], "Fine."]) as (caller, workers):
        await caller.send("conversation.item.create", item=text_item("a story"))
        await caller.send("response.create")
        await caller.until("response.output_audio.delta")
        await caller.send("response.cancel")
        cancelled = await caller.until("response.done")
        await caller.send("response.create")
        done = await caller.until("response.done")
    assert cancelled["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert done["response"]["status"] == "completed"
    assert isinstance(workers.language, ScriptedLanguage)
    assert workers.language.cancelled == 1


async def test_nothing_said_gets_an_empty_transcript_and_no_reply() -> None:
    async with call(["", QUESTION], ["Four."]) as (caller, _):
        await caller.send("session.update", session=TRANSCRIBED)
        await caller.say(flite("hm"), then_silence=1.0)
        empty = await caller.until("conversation.item.input_audio_transcription.completed")
        await caller.say(flite(QUESTION), then_silence=1.0)
        await caller.until("response.done")
    assert empty["transcript"] == ""
    assert len(caller.all("response.created")) == 1


async def test_a_failing_recognizer_fails_the_transcription_and_the_session_lives() -> None:
    async with call([WorkerError("the decoder broke"), QUESTION], ["Four."]) as (caller, _):
        await caller.send("session.update", session=TRANSCRIBED)
        await caller.say(flite(QUESTION), then_silence=1.0)
        failed = await caller.until("conversation.item.input_audio_transcription.failed")
        await caller.say(flite(QUESTION), then_silence=1.0)
        done = await caller.until("response.done")
    assert failed["error"]["message"] == "the decoder broke"
    assert done["response"]["status"] == "completed"


@pytest.mark.parametrize(
    ("replies", "fails_on"), [([WorkerUnavailable("no model there")], ""), (["Speak of the devil."], "devil")]
)
async def test_a_failing_worker_fails_the_response_and_the_session_lives(replies: list[Any], fails_on: str) -> None:
    async with call(replies=[*replies, "Fine."], fails_on=fails_on) as (caller, _):
        await caller.send("conversation.item.create", item=text_item("hello"))
        await caller.send("response.create")
        failed = await caller.until("response.done")
        await caller.send("response.create")
        done = await caller.until("response.done")
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["status_details"]["error"]["type"] == "server_error"
    assert done["response"]["status"] == "completed"
    assert not caller.all("error")


async def test_timings_come_only_to_those_who_ask() -> None:
    async with call([QUESTION], ["Four."], query="?parley_timings=true") as (caller, _):
        await caller.say(flite(QUESTION), then_silence=1.0)
        timings = await caller.until("parley.turn.timings")
        await caller.until("response.done")
    assert 450 <= timings["endpoint_wait_ms"] <= 600
    stages = ("recognizer_ms", "first_token_ms", "first_clause_ms", "first_audio_ms")
    assert all(timings[stage] >= 0 for stage in stages)
    async with call([QUESTION], ["Four."]) as (caller, _):
        await caller.say(flite(QUESTION), then_silence=1.0)
        await caller.until("response.done")
    assert "parley.turn.timings" not in caller.types()


async def test_audio_out_is_the_synthesizers() -> None:
    async with call(replies=["Hello there."]) as (caller, _):
        await caller.send("conversation.item.create", item=text_item("hello"))
        await caller.send("response.create")
        await caller.until("response.done")
    audio = b"".join(base64.b64decode(event["delta"]) for event in caller.all("response.output_audio.delta"))
    assert len(audio) == len("Hello there.") * 1200 * 2
    assert max(len(event["delta"]) for event in caller.all("response.output_audio.delta")) < 16_000


def text_item(text: str) -> dict[str, Any]:
    """A caller's typed message."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
