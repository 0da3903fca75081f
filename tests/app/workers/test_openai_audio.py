"""Any server of OpenAI's audio API as recognizer and synthesizer: against our own REST, and against faulty servers."""

from __future__ import annotations

import asyncio
import io
import itertools
import wave

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from app.access import Access
from app.errors import BadRequest, ParleyError, SettingsError, UnknownModel, WireError, WorkerBusy, WorkerUnavailable
from app.gateway import create_app
from app.reply import close
from app.speaking import Workers
from app.workers.base import SpeechChunk
from app.workers.connect import is_url, reach_recognizer, reach_synthesizer
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer, level_of
from tests.packs import SCRIPTED
from tests.realtime import calling
from tests.serving import serving
from tests.sounds import flite, silence

SECOND = silence(1.0, 16_000)
KEY = Access(api_keys=frozenset({"sk-right"}))


def other_service(heard: list[str], **options: object) -> tuple[FastAPI, Workers]:
    """A Parley that stands for somebody else's server."""
    workers = Workers(ScriptedRecognizer(heard, repeat=True), ScriptedLanguage([]), ScriptedSynthesizer())
    return create_app(SCRIPTED, workers, **options), workers  # type: ignore[arg-type]


async def test_an_utterance_is_heard_as_a_whole_with_its_options() -> None:
    app, workers = other_service(["what time is it"], access=KEY)
    async with serving(app) as url:
        stage = reach_recognizer(f"openai:{url}/v1", api_key="sk-right")
        recognition = await stage.start(language="en-GB", prompt="Good morning.", hot_words="Parley")
        hypotheses = recognition.hypotheses()
        coming = asyncio.ensure_future(anext(hypotheses, "no words before the end"))
        for _ in range(2):
            recognition.feed(SECOND)
        transcript = await recognition.finish()
        assert await coming == "no words before the end"
        await (await stage.start()).abort()
        assert (await stage.health()).engine == "openai"
    assert (transcript.text, transcript.seconds, transcript.engine) == ("what time is it", 2.0, "openai")
    assert isinstance(workers.recognizer, ScriptedRecognizer)
    assert workers.recognizer.heard == [SECOND + SECOND]
    [asked] = workers.recognizer.asked
    assert (asked["language"], asked["prompt"]) == ("en", "Good morning. Parley")


async def test_speech_streams_and_its_marks_cover_the_text() -> None:
    text = "Hello there how are you"
    app, _ = other_service([])
    async with serving(app) as url:
        stage = reach_synthesizer(f"openai:{url}/v1")
        chunks: list[SpeechChunk] = [chunk async for chunk in stage.speak(text)]
    pcm = b"".join(chunk.pcm for chunk in chunks)
    assert len(pcm) == 2 * 1200 * len(text)
    assert set(memoryview(pcm).cast("h")) == {level_of(text)}
    assert len(chunks) > 2
    assert all(chunk.marks_are_estimated and chunk.sample_rate == 24_000 for chunk in chunks)
    spans = [chunk.text_span for chunk in chunks]
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


async def test_leaving_stops_the_server() -> None:
    app, workers = other_service([])
    assert isinstance(workers.synthesizer, ScriptedSynthesizer)
    async with serving(app) as url:
        chunks = reach_synthesizer(f"openai:{url}/v1").speak("word " * 800)
        await anext(chunks)
        await close(chunks)
        async with asyncio.timeout(5):
            while not workers.synthesizer.cancelled:
                await asyncio.sleep(0)


async def test_a_whole_turn_over_somebody_elses_ears_and_voice() -> None:
    app, _ = other_service(["what time is it"])
    async with serving(app) as url:
        workers = Workers(
            reach_recognizer(f"openai:{url}/v1"),
            ScriptedLanguage(["It is ten past four."]),
            reach_synthesizer(f"openai:{url}/v1"),
        )
        async with serving(create_app(SCRIPTED, workers)) as gateway, calling(gateway) as caller:
            await caller.send("session.update", session={"audio": {"output": {"voice": "alloy"}}})
            await caller.say(flite("what time is it"), then_silence=1.0)
            done = await caller.until("response.done")
    assert done["response"]["status"] == "completed"
    assert caller.text("response.output_audio_transcript.delta") == "It is ten past four."


def faulty(status: int) -> FastAPI:
    """Answers both routes with an error."""
    app = FastAPI()

    @app.post("/v1/audio/{route}")
    async def answer(route: str) -> Response:
        return JSONResponse({"error": {"message": f"error {status}"}}, status)

    return app


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequest), (404, UnknownModel), (429, WorkerBusy), (503, WorkerBusy), (500, ParleyError)],
)
async def test_a_refusal_keeps_its_kind(status: int, kind: type[ParleyError]) -> None:
    async with serving(faulty(status)) as url:
        with pytest.raises(kind, match=f"error {status}"):
            await (await reach_recognizer(f"openai:{url}/v1").start()).finish()
        with pytest.raises(kind, match=f"error {status}"):
            await anext(reach_synthesizer(f"openai:{url}/v1").speak("Hello."))


async def test_what_is_no_transcript_and_no_pcm_is_said() -> None:
    app = FastAPI()
    seen: list[tuple[str, float]] = []

    @app.post("/v1/audio/transcriptions")
    async def transcribe(request: Request) -> Response:
        form = await request.form()
        upload = form["file"]
        assert not isinstance(upload, str)
        with wave.open(io.BytesIO(await upload.read())) as recording:
            seen.append((str(form["model"]), recording.getnframes() / recording.getframerate()))
        return PlainTextResponse("hello")

    @app.post("/v1/audio/speech")
    async def speak() -> Response:
        return Response(b"\0" * 9601)

    async with serving(app) as url:
        recognition = await reach_recognizer(f"openai:{url}/v1#large").start()
        recognition.feed(SECOND)
        with pytest.raises(WireError, match="expected JSON with a text"):
            await recognition.finish()
        with pytest.raises(WireError, match="half a sample"):
            [_ async for _ in reach_synthesizer(f"openai:{url}/v1").speak("Hello.")]
        assert (await reach_recognizer(f"openai:{url}/v1").health()).model == "whisper-1"  # it lists no models
    assert seen == [("large", 1.0)]


async def test_nobody_there_is_unavailable_and_another_is_asked() -> None:
    dead = "openai:http://127.0.0.1:1/v1"
    with pytest.raises(WorkerUnavailable, match="no server answers"):
        await (await reach_recognizer(dead).start()).finish()
    with pytest.raises(WorkerUnavailable, match="no server answers"):
        await reach_synthesizer(dead).health()
    app, workers = other_service(["heard after all"])
    async with serving(app) as url:
        recognition = await reach_recognizer(f"{dead},openai:{url}/v1").start()
        recognition.feed(SECOND)
        assert (await recognition.finish()).text == "heard after all"
    assert isinstance(workers.recognizer, ScriptedRecognizer)
    assert workers.recognizer.heard == [SECOND]


def test_what_is_no_url_is_refused() -> None:
    assert is_url("openai:https://host/v1")
    assert not is_url("pocketsphinx")
    with pytest.raises(SettingsError, match="got 'openai:host'"):
        reach_recognizer("http://host,openai:host")
