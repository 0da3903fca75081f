"""Transcripts as subtitles and verbose JSON, and translations, over scripted workers and the stock client."""

from __future__ import annotations

from typing import Any

import pytest

from app.language_names import name_of
from app.transcript_files import segments, srt, vtt
from app.workers.base import Transcript, Word
from app.workers.scripted import ScriptedRecognizer
from tests.audio_service import PACK, Serve, error_of, local, service, stock, wav


def timed(text: str, *, pause_before: dict[str, float] | None = None, each_s: float = 0.5) -> Transcript:
    """An utterance whose words last `each_s`, some after a pause."""
    words: list[Word] = []
    now = 0.0
    for word in text.split():
        now += (pause_before or {}).get(word, 0.0)
        words.append(Word(word, now, now + each_s, 1.0))
        now += each_s
    return Transcript(text, now, words=tuple(words), language="en")


def test_segments_end_with_sentences_pauses_and_length() -> None:
    heard = timed("Yes. I come later on", pause_before={"later": 1.0})
    assert [part.text for part in segments([heard])] == ["Yes.", "I come", "later on"]
    long = timed(" ".join(["word"] * 30))
    assert all(part.end_s - part.start_s <= 7.0 for part in segments([long]))
    assert " ".join(part.text for part in segments([long])) == long.text


def test_times_go_on_from_utterance_to_utterance() -> None:
    first, second = timed("one two"), timed("three")
    assert [(part.start_s, part.end_s) for part in segments([first, second])] == [(0.0, 1.0), (1.0, 1.5)]
    untimed = [Transcript("one", 2.0), Transcript("", 1.0), Transcript("two", 3.0)]
    assert [(part.start_s, part.end_s) for part in segments(untimed)] == [(0.0, 2.0), (3.0, 6.0)]


def test_subtitles() -> None:
    late = [Transcript("", 3599.9995), timed("hello there")]
    assert srt([timed("hello. there")]) == (
        "1\n00:00:00,000 --> 00:00:00,500\nhello.\n\n2\n00:00:00,500 --> 00:00:01,000\nthere\n"
    )
    assert vtt(late) == "WEBVTT\n\n01:00:00.000 --> 01:00:01.000\nhello there\n"
    assert (srt([]), vtt([])) == ("", "WEBVTT\n\n")


@pytest.mark.parametrize(("code", "name"), [("en", "english"), ("zh-Hant", "chinese"), ("ht", "haitian creole"),
                                            ("gd", "gd"), ("", "")])  # fmt: skip
def test_languages_have_the_names_that_openai_gives_them(code: str, name: str) -> None:
    assert name_of(code) == name


async def test_the_stock_client_reads_every_form(serve: Serve) -> None:
    recognizer = ScriptedRecognizer(["turn on the light"], repeat=True)
    async with stock(await serve(service(recognizer))) as client:
        ask: dict[str, Any] = {"model": "whisper-1", "file": ("q.wav", wav(2.0)), "language": "en"}
        verbose: Any = await client.audio.transcriptions.create(
            **ask, response_format="verbose_json", timestamp_granularities=["word"]
        )
        default: Any = await client.audio.transcriptions.create(**ask, response_format="verbose_json")
        subtitles: Any = await client.audio.transcriptions.create(**ask, response_format="srt")
        plain = await client.audio.transcriptions.create(**ask)
    assert [(word.word, word.start, word.end) for word in verbose.words][:2] == [("turn", 0.0, 0.25), ("on", 0.25, 0.5)]
    assert (verbose.segments, verbose.language, verbose.duration) == (None, "english", 2.0)
    assert [segment.text for segment in default.segments] == ["turn on the light"]
    assert default.words is None
    assert str(subtitles).startswith("1\n00:00:00,000 --> 00:00:01,000\nturn on the light")
    assert plain.text == "turn on the light"
    assert [asked.get("word_times") for asked in recognizer.asked] == [True, True, True, False]


async def test_every_form_says_the_same_of_what_was_heard(serve: Serve) -> None:
    ask: dict[str, Any] = {"model": "whisper-1", "file": ("q.wav", wav(1.2342))}
    async with stock(await serve(service(ScriptedRecognizer(["yes"], repeat=True)))) as client:
        plain = await client.audio.transcriptions.create(**ask)
        verbose: Any = await client.audio.transcriptions.create(**ask, response_format="verbose_json")
    assert plain.usage is not None
    assert plain.usage.to_dict() == verbose.usage.to_dict() == {"type": "duration", "seconds": 1.234}
    assert verbose.duration == 1.234


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "srt", "stream": "true"}, "response_format"),
        ({"timestamp_granularities[]": "syllable"}, "timestamp_granularities"),
        ({"timestamp_granularities": ["word", "syllable"]}, "timestamp_granularities"),
    ],
)
async def test_what_is_not_supported_is_told(fields: dict[str, Any], param: str) -> None:
    async with local(service(ScriptedRecognizer([]))) as client:
        answer = await client.post(
            "/v1/audio/transcriptions", data={"model": PACK, **fields}, files={"file": ("q.wav", wav())}
        )
    assert error_of(answer, 400)["param"] == param


async def test_a_stream_ends_with_the_whole_text_and_its_usage(serve: Serve) -> None:
    async with stock(await serve(service(ScriptedRecognizer(["turn on the light"])))) as client:
        stream = await client.audio.transcriptions.create(model=PACK, file=("q.wav", wav()), stream=True)
        done: Any = [event async for event in stream][-1]
    assert (done.text, done.usage.type, done.usage.total_tokens) == ("turn on the light", "tokens", 0)


async def test_english_alone_is_translated_and_the_rest_refused_in_words() -> None:
    async with local(service(ScriptedRecognizer(["hello"], language="en"))) as client:
        english = await client.post("/v1/audio/translations", data={"model": PACK}, files={"file": ("q.wav", wav())})
    async with local(service(ScriptedRecognizer(["hallo"], language="de"))) as client:
        german = await client.post("/v1/audio/translations", data={"model": PACK}, files={"file": ("q.wav", wav())})
    assert english.json()["text"] == "hello"
    error = error_of(german, 400, "translation_unsupported")
    assert "'de'" in error["message"]
