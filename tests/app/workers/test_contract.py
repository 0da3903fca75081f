"""One contract, three transports: the same cases against scripted workers in process and over the private wire.

The language stage's remote is any OpenAI chat server: its own test drives it through the REST routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from app.access import Access
from app.errors import UnknownModel, WireError, WorkerBusy, WorkerError, WorkerUnavailable
from app.reply import close
from app.workers import wire
from app.workers.base import Asked, Recognizer, SpeechChunk, Synthesizer, Word
from app.workers.connect import reach_recognizer, reach_synthesizer
from app.workers.scripted import ScriptedRecognizer, ScriptedSynthesizer
from app.workers.server import recognizer_app, synthesizer_app
from tests.serving import serving
from tests.sounds import silence

SECOND = silence(1.0, 16_000)


@pytest.fixture(params=["in process", "remote"])
async def recognizer(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Recognizer, ScriptedRecognizer]]:
    """A recognizer to use, and the scripted one behind it."""
    scripted = ScriptedRecognizer(["one two three four", WorkerError("broken", code="worker_error"), "five"], slots=2)
    if request.param == "in process":
        yield scripted, scripted
        return
    async with serving(recognizer_app(scripted, access=Access(), model="scripted")) as url:
        yield reach_recognizer(url), scripted


@pytest.fixture(params=["in process", "remote"])
async def synthesizer(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Synthesizer, ScriptedSynthesizer]]:
    """A synthesizer to use, and the scripted one behind it."""
    scripted = ScriptedSynthesizer(fails_on="devil")
    if request.param == "in process":
        yield scripted, scripted
        return
    async with serving(synthesizer_app(scripted, access=Access(), model="scripted")) as url:
        yield reach_synthesizer(url), scripted


async def test_frames_become_hypotheses_and_a_transcript(
    recognizer: tuple[Recognizer, ScriptedRecognizer],
) -> None:
    stage, behind = recognizer
    recognition = await stage.start(language="en", prompt="numbers")
    recognition.feed(SECOND)
    hypotheses = recognition.hypotheses()
    assert await anext(hypotheses) == "one two three four"
    await close(hypotheses)
    transcript = await recognition.finish()
    assert (transcript.text, transcript.seconds) == ("one two three four", 1.0)
    assert behind.heard == [SECOND]
    assert await freed(behind)


async def test_words_have_times_when_asked_and_options_arrive(
    recognizer: tuple[Recognizer, ScriptedRecognizer],
) -> None:
    stage, behind = recognizer
    asked = Asked(language="en", prompt="before", hot_words="Parley", word_times=True, model="pack@2")
    transcript = await (await stage.start(**asked)).finish()
    assert transcript.words[:2] == (Word("one", 0.0, 0.25, 1.0), Word("two", 0.25, 0.5, 1.0))
    assert behind.asked == [asked]


async def test_a_failure_keeps_its_class_and_frees_the_slot(recognizer: tuple[Recognizer, ScriptedRecognizer]) -> None:
    stage, behind = recognizer
    await (await stage.start()).abort()
    recognition = await stage.start()
    recognition.feed(SECOND)
    with pytest.raises(WorkerError, match="broken"):
        await recognition.finish()
    assert await freed(behind)


async def test_a_full_recognizer_refuses_by_type(recognizer: tuple[Recognizer, ScriptedRecognizer]) -> None:
    stage, behind = recognizer
    first, second = await stage.start(), await stage.start()
    with pytest.raises(WorkerBusy, match="limit is 2"):
        await stage.start()
    await first.abort()
    await second.abort()
    assert await freed(behind)
    await (await stage.start()).abort()


async def test_speech_comes_in_order_with_its_marks(synthesizer: tuple[Synthesizer, ScriptedSynthesizer]) -> None:
    stage, behind = synthesizer
    chunks: list[SpeechChunk] = [chunk async for chunk in stage.speak("Hello there.", voice="scripted")]
    assert [chunk.text_span for chunk in chunks] == [(0, 5), (5, 12)]
    assert [chunk.marks for chunk in chunks] == [((5, 6000),), ((12, 8400),)]
    assert [len(chunk.pcm) for chunk in chunks] == [12_000, 16_800]
    [_ async for _ in stage.speak("Bye.", model="pack@2")]
    assert behind.models == ["", "pack@2"]


async def test_unknown_voice_and_failure_keep_their_class(
    synthesizer: tuple[Synthesizer, ScriptedSynthesizer],
) -> None:
    stage, _ = synthesizer
    with pytest.raises(UnknownModel, match="no voice 'nobody'"):
        await anext(stage.speak("Hello.", voice="nobody"))
    with pytest.raises(WorkerError, match="scripted failure"):
        await anext(stage.speak("The devil."))


async def test_closing_the_iterator_stops_the_work(synthesizer: tuple[Synthesizer, ScriptedSynthesizer]) -> None:
    stage, behind = synthesizer
    # Far more than the sockets' buffers hold, so that the worker is still at it when the reader leaves.
    chunks = stage.speak("word " * 2000)
    await anext(chunks)
    await close(chunks)
    async with asyncio.timeout(5):
        while not behind.cancelled:
            await asyncio.sleep(0)
    assert behind.cancelled == 1


async def test_nobody_at_the_url_is_unavailable() -> None:
    with pytest.raises(WorkerUnavailable, match="no worker answers"):
        await reach_recognizer("http://127.0.0.1:1").start()
    with pytest.raises(WorkerUnavailable, match="no worker answers"):
        await anext(reach_synthesizer("http://127.0.0.1:1").speak("Hello."))
    with pytest.raises(WorkerUnavailable):
        await reach_recognizer("http://127.0.0.1:1").health()


async def test_health_is_the_engines_own() -> None:
    async with serving(recognizer_app(ScriptedRecognizer([]), access=Access(), model="scripted")) as url:
        health = await reach_recognizer(url).health()
    assert (health.stage, health.engine) == ("recognizer", "scripted")


async def test_a_worker_gone_mid_utterance_is_unavailable() -> None:
    async with serving(recognizer_app(ScriptedRecognizer(["one"]), access=Access(), model="scripted")) as url:
        recognition = await reach_recognizer(url).start()
    with pytest.raises(WorkerUnavailable):
        await recognition.finish()


@pytest.mark.parametrize(
    "frame", [b"", b"no header", b"[]\n", b'{"is":"Nonsense"}\n', b'{"is":"Speak","text":"a"}\n', "text", b"{\n"]
)
def test_what_is_not_a_message_is_a_wire_error(frame: bytes | str) -> None:
    with pytest.raises(WireError):
        wire.decode(frame)


def test_another_release_on_the_wire_is_refused() -> None:
    with pytest.raises(WireError, match="got wire version 99"):
        wire.decode(wire.encode(wire.Open("", "", version=99)))


@pytest.mark.parametrize(
    "message",
    [
        wire.Open("en", "before", "words", True, "pack@2"),
        wire.Opened(),
        wire.Audio(b"\n{}\x00\x01"),
        wire.Finish(),
        wire.Abort(),
        wire.Hypothesis("a\nb"),
        wire.Heard("text", 1.5, 0.9, 0.1, "whisper", "en", (Word("text", 0.1, 0.5, 0.9),)),
        wire.Speak("text", "voice", 1.5, "pack@2"),
        wire.SpeechEnd(),
        wire.Failed("WorkerBusy", "worker_busy", "full"),
    ],
)
def test_messages_survive_the_wire(message: wire.WireMessage) -> None:
    assert wire.decode(wire.encode(message)) == message


def test_an_unknown_error_class_becomes_a_worker_error() -> None:
    error = wire.error_of(wire.Failed("getattr", "odd", "what"))
    assert (type(error), error.code) == (WorkerError, "odd")


async def test_a_worker_answers_nonsense_with_its_error_and_lives() -> None:
    scripted = ScriptedRecognizer(["one"])
    async with serving(recognizer_app(scripted, access=Access(), model="scripted")) as url:
        async with connect("ws" + url.removeprefix("http") + "/wire/recognize", proxy=None) as socket:
            await socket.send(b"nonsense")
            failed = wire.decode(await socket.recv())
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
        transcript = await (await reach_recognizer(url).start()).finish()
    assert isinstance(failed, wire.Failed)
    assert failed.kind == "WireError"
    assert transcript.text == "one"


async def test_a_web_page_cannot_open_a_workers_wire() -> None:
    async with serving(recognizer_app(ScriptedRecognizer(["one"]), access=Access(), model="scripted")) as url:
        address = "ws" + url.removeprefix("http") + "/wire/recognize"
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(address, proxy=None, origin="https://evil.example")  # type: ignore[arg-type]
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{url}/health", headers={"Host": "evil.example"})
    assert refused.value.response.status_code == 403
    assert answer.status_code == 403


async def freed(recognizer: ScriptedRecognizer) -> bool:
    """Waits until no utterance is open; a remote worker notices a closed socket a moment later."""
    async with asyncio.timeout(5):
        while recognizer.open:
            await asyncio.sleep(0)
    return True
