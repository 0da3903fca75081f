"""Transcriptions, speech and models: the stock OpenAI client over a real server; pieces and documentation."""

from __future__ import annotations

import io
import json
import wave
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from app.access import Access
from app.audio import HEARING_RATE, REALTIME_RATE, Waveform
from app.media import CONTENT_TYPES, decode_to, wav_header
from app.rest_transcription import utterances
from app.workers.scripted import ScriptedRecognizer, ScriptedSynthesizer, level_of
from tests.audio_service import PACK, TEXT, Serve, local, service, stock, wav

SPEECH = {"model": PACK, "input": TEXT, "voice": "alloy"}

# -- the stock client ------------------------------------------------------------------------------------------------


async def test_transcription(serve: Serve) -> None:
    recognizer = ScriptedRecognizer(["what time is it"])
    async with stock(await serve(service(recognizer))) as client:
        answer = await client.audio.transcriptions.create(
            model="gpt-4o-transcribe",
            file=("question.wav", wav(2.0)),
            language="en",
            prompt="time",
            temperature=0.2,
            timestamp_granularities=["word"],
            chunking_strategy={"type": "server_vad", "threshold": 0.4},
        )
    assert answer.text == "what time is it"
    assert answer.usage is not None
    assert len(recognizer.heard[0]) == 2 * 2 * HEARING_RATE
    assert recognizer.open == 0


async def test_transcription_as_text_and_as_events(serve: Serve) -> None:
    async with stock(await serve(service(ScriptedRecognizer(["turn on the light"], repeat=True)))) as client:
        file = ("q.wav", wav())
        text = await client.audio.transcriptions.create(model="whisper-1", file=file, response_format="text")
        assert str(text).strip() == "turn on the light"
        stream = await client.audio.transcriptions.create(model=PACK, file=file, stream=True)
        events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "turn on the light"


async def test_a_long_recording_is_heard_in_pieces(serve: Serve) -> None:
    recognizer = ScriptedRecognizer(["one", "", "three", ""])  # of an even tone each piece has two thirds of 28 s
    async with stock(await serve(service(recognizer))) as client:
        stream = await client.audio.transcriptions.create(model=PACK, file=("long.wav", wav(70)), stream=True)
        events = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert deltas == ["one", " three"]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "one three"
    assert sum(map(len, recognizer.heard)) == 70 * 2 * HEARING_RATE


@pytest.mark.parametrize("name", list(CONTENT_TYPES))
async def test_speech_in_every_format(serve: Serve, name: Any) -> None:
    synthesizer = ScriptedSynthesizer(sample_rate=16_000)
    async with stock(await serve(service(synthesizer=synthesizer))) as client:
        answer = await client.audio.speech.create(
            model="tts-1", input=TEXT, voice="alloy", response_format=name, instructions=openai.omit
        )
    assert answer.response.headers["content-type"].split(";")[0] == CONTENT_TYPES[name]
    assert synthesizer.spoken == [TEXT]
    data = answer.content if name != "pcm" else wav_header(REALTIME_RATE) + answer.content
    heard = decode_to(data, REALTIME_RATE)
    assert len(heard) / REALTIME_RATE == pytest.approx(len(TEXT) * 1200 / 16_000, abs=0.1)
    if name in ("pcm", "wav"):
        assert np.median(heard) * 32768 == pytest.approx(level_of(TEXT), abs=20)


async def test_a_long_text_is_spoken_clause_by_clause_and_whole(serve: Serve) -> None:
    story = "Once there was a lamp. It would not shine; nobody knew why, and " + "so they waited " * 20 + "until dawn."
    synthesizer = ScriptedSynthesizer(samples_per_character=100)
    async with stock(await serve(service(synthesizer=synthesizer))) as client:
        answer = await client.audio.speech.create(model="tts-1", input=story, voice="nova", response_format="pcm")
    assert len(synthesizer.spoken) > 3
    assert "".join(synthesizer.spoken) == story
    assert len(answer.content) == 2 * 100 * len(story)


async def test_speech_is_mp3_unless_asked_and_takes_nulls(serve: Serve) -> None:
    body = {"model": "gpt-4o-mini-tts", "input": TEXT, "voice": {"id": "scripted"}, "instructions": None}
    body |= {"response_format": None, "speed": None, "stream_format": None, "lipstick": "red"}
    async with httpx.AsyncClient(base_url=await serve(service())) as client:
        answer = await client.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"


async def test_speech_speed_reaches_the_voice(serve: Serve) -> None:
    async with stock(await serve(service())) as client:
        sizes = []
        for speed in (1.0, 2.0):
            speech = await client.audio.speech.create(
                model=PACK, input=TEXT, voice="second", response_format="pcm", speed=speed
            )
            sizes.append(len(speech.content))
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.01)


async def test_speech_as_events(serve: Serve) -> None:
    async with httpx.AsyncClient(base_url=await serve(service())) as client:
        body = {"model": PACK, "input": TEXT, "voice": "", "response_format": "pcm", "stream_format": "sse"}
        answer = await client.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"


async def test_models(serve: Serve) -> None:
    async with stock(await serve(service())) as client:
        assert [model.id for model in (await client.models.list()).data] == [PACK]
        model = await client.models.retrieve("gpt-realtime")
        assert (model.id, model.object, model.owned_by) == ("gpt-realtime", "model", "parley")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("org/unknown")
    assert missing.value.code == "model_not_found"


async def test_key_is_checked_by_the_stock_client_too(serve: Serve) -> None:
    url = await serve(service(access=Access(api_keys=frozenset({"sk-right"}))))
    async with stock(url, "sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError) as denied:
            await client.models.list()
    assert denied.value.code == "invalid_api_key"
    assert denied.value.request_id is not None
    async with stock(url, "sk-right") as client:
        assert (await client.models.list()).data


# -- pieces and documentation ----------------------------------------------------------------------------------------


def test_a_long_recording_is_cut_where_it_is_quiet() -> None:
    loud = np.random.default_rng(7).normal(0, 0.2, 65 * HEARING_RATE).astype(np.float32)
    for second in (25, 47):
        loud[second * HEARING_RATE : second * HEARING_RATE + HEARING_RATE // 2] *= 0.01
    pieces = list(utterances(loud))
    assert np.array_equal(np.concatenate(pieces), loud)
    ends = np.cumsum([len(piece) / HEARING_RATE for piece in pieces])
    assert ends == pytest.approx([25.25, 47.25, 65.0], abs=0.25)


@pytest.mark.parametrize("samples", [1, 28 * HEARING_RATE, 28 * HEARING_RATE + 1])
def test_short_and_border_recordings_lose_nothing(samples: int) -> None:
    waveform: Waveform = np.arange(samples, dtype=np.float32)
    pieces = list(utterances(waveform))
    assert np.array_equal(np.concatenate(pieces), waveform)
    assert all(0 < len(piece) <= 28 * HEARING_RATE for piece in pieces)


async def test_wav_answers_open_in_the_standard_library() -> None:
    async with local(service()) as client:
        answer = await client.post("/v1/audio/speech", json=SPEECH | {"response_format": "wav"})
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getframerate() == REALTIME_RATE


def test_openapi_documents_the_key_and_the_errors() -> None:
    schema = service().openapi()
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert operation["security"], path
            assert {"200", "400", "401", "404", "413", "503"} <= set(operation["responses"])
            assert "422" not in operation["responses"]
            envelope = operation["responses"]["400"]["content"]["application/json"]["schema"]
            assert envelope == {"$ref": "#/components/schemas/ErrorEnvelope"}
    speech = schema["paths"]["/v1/audio/speech"]["post"]["responses"]["200"]["content"]
    assert set(speech) >= set(CONTENT_TYPES.values())
    transcription = schema["paths"]["/v1/audio/transcriptions"]["post"]
    assert "multipart/form-data" in transcription["requestBody"]["content"]


async def test_menus_of_voices_and_models() -> None:
    async with local(service()) as client:
        voices = (await client.get("/v1/audio/voices")).json()
        models = (await client.get("/v1/audio/models")).json()
        unknown = await client.get("/v1/audio/voices", params={"model": "nobody"})
    assert voices == {"voices": [{"id": "scripted", "name": "scripted"}, {"id": "second", "name": "second"}]}
    assert models == {"models": [{"id": PACK}]}
    assert unknown.status_code == 404
