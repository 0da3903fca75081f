"""openai-python's REST client: transcriptions, translations, speech, chat, models, errors."""

from __future__ import annotations

import io
import subprocess
import wave
from typing import Any

import openai
import pytest

from tests.clients.recorded import SUM, is_forty_two, is_heard, recording

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


@pytest.fixture
def client(service: str) -> openai.OpenAI:
    """A client that knows nothing but its base URL."""
    return openai.OpenAI(api_key="unused", base_url=f"{service}/v1", max_retries=0)


def seconds_of(data: bytes, *options: str) -> float:
    """How long a file plays, by FFmpeg."""
    command = ["ffmpeg", "-v", "error", *options, "-i", "-", "-f", "s16le", "-ar", "24000", "-ac", "1", "-"]
    return len(subprocess.run(command, input=data, capture_output=True, check=True).stdout) / 48_000


def test_a_recording_is_transcribed_in_every_form(client: openai.OpenAI) -> None:
    def heard(**options: Any) -> Any:
        return client.audio.transcriptions.create(model="whisper-1", file=recording(), **options)

    assert is_heard(heard().text)
    assert is_heard(str(heard(response_format="text")))
    srt, vtt = str(heard(response_format="srt")), str(heard(response_format="vtt"))
    assert srt.startswith("1\n00:00:0")
    assert vtt.startswith("WEBVTT\n\n00:00:0")
    assert is_heard(srt)
    assert is_heard(vtt)
    verbose = heard(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert (verbose.language, round(verbose.duration, 1)) == ("english", 1.6)
    assert is_heard(" ".join(segment.text for segment in verbose.segments))
    assert is_heard(" ".join(word.word for word in verbose.words))
    times = [time for word in verbose.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 1.7
    events = list(heard(stream=True))
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text
    assert is_heard(events[-1].text)


def test_english_is_translated_to_itself(client: openai.OpenAI) -> None:
    assert is_heard(client.audio.translations.create(model="whisper-1", file=recording()).text)


def test_a_text_is_spoken_in_every_format(client: openai.OpenAI) -> None:
    def spoken(**options: Any) -> bytes:
        body = {"model": "tts-1", "voice": "alloy", "input": "The lamp in the kitchen is on.", **options}
        return client.audio.speech.create(**body).content

    for name in FORMATS:
        options = ["-f", "s16le", "-ar", "24000", "-ac", "1"] if name == "pcm" else []
        assert 1.0 < seconds_of(spoken(response_format=name), *options) < 4.0, name
    slow, fast = (len(spoken(response_format="pcm", speed=speed)) for speed in (0.5, 2.0))
    assert slow > 2.5 * fast
    with wave.open(io.BytesIO(spoken(response_format="wav"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)


def test_speech_is_streamed(client: openai.OpenAI) -> None:
    body: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "coral", "input": "Hello there. " * 8}
    with client.audio.speech.with_streaming_response.create(**body, response_format="pcm") as answer:
        assert answer.headers["content-type"].startswith("audio/pcm")
        pieces = list(answer.iter_bytes())
    assert len(pieces) > 1
    with client.audio.speech.with_streaming_response.create(**body, stream_format="sse") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert '"speech.audio.delta"' in lines[0]
    assert '"speech.audio.done"' in lines[-1]
    assert '"usage"' in lines[-1]


def test_what_is_spoken_is_heard(client: openai.OpenAI) -> None:
    speech = client.audio.speech.create(model="tts-1", voice="alloy", input=SUM, response_format="flac").content
    text = client.audio.transcriptions.create(model="whisper-1", file=("speech.flac", speech)).text
    assert set(SUM.split()) & set(text.split())


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content
    assert answer.usage is not None
    tool = {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    }
    called = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": SUM}],
        tools=[{"type": "function", "function": tool}],
        tool_choice={"type": "function", "function": {"name": "add"}},
    )
    (call,) = called.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "add"
    stream = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert "en-starter" in names
    assert client.models.retrieve("en-starter").owned_by == "parley"
    assert client.models.retrieve("whisper-1").id == "whisper-1"


def test_errors_are_those_that_the_client_knows(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.models.retrieve("nobody")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as broken:
        client.audio.transcriptions.create(model="whisper-1", file=("noise.wav", b"RIFF nothing"))
    assert broken.value.code == "invalid_audio"
    with pytest.raises(openai.BadRequestError) as silent:
        client.audio.speech.create(model="tts-1", voice="alloy", input=" ")
    assert silent.value.param == "input"
    with pytest.raises(openai.BadRequestError) as voiceless:
        client.audio.speech.create(model="tts-1", voice="nobody", input="Hello.")
    assert voiceless.value.param == "voice"


def test_forty_two(client: openai.OpenAI) -> None:
    """A reply that needs the pack's own tool comes from a session; a request has only the tools that it brings."""
    tools = [{"type": "function", "function": {"name": "calculate", "parameters": {"type": "object"}}}]
    messages: list[Any] = [
        {"role": "user", "content": SUM},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "calculate"}}]},
        {"role": "tool", "tool_call_id": "c", "content": '{"result": 42}'},
    ]
    answer: Any = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools)  # type: ignore[arg-type]
    assert is_forty_two(answer.choices[0].message.content or "")
