"""`parley talk` against a real server with scripted workers: what it prints, writes and returns."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import wave
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app import talk
from app.access import Access
from app.audio import Pcm16
from app.errors import AccessDenied, BadAudio, BadRequest, WorkerError, WorkerUnavailable
from app.gateway import create_app
from app.speaking import Workers
from app.talk_turn import time_line
from app.workers.scripted import HOLD, ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.serving import serving
from tests.sounds import flite, silence

QUESTION = "what time is it"
ANSWER = "It is ten past nine."


def recording(path: Path, pcm: Pcm16) -> Path:
    """PCM16 at 24 kHz as a WAV file."""
    talk.write_wav(path, pcm)
    return path


@contextlib.asynccontextmanager
async def service(
    heard: Sequence[str | Exception] = (), replies: Sequence[Any] = (), *, key: str = ""
) -> AsyncIterator[tuple[str, Workers]]:
    """A running service with scripted workers."""
    workers = Workers(ScriptedRecognizer(heard), ScriptedLanguage(replies), ScriptedSynthesizer())
    access = Access(frozenset({key} if key else ()))
    async with serving(create_app(SCRIPTED, workers, access=access)) as url:
        yield url, workers


async def talking(url: str, *recordings: Path, out: Path | None = None, key: str = "") -> tuple[int, str]:
    """The exit code and everything printed."""
    printed: list[str] = []
    code = await talk.talk(recordings, url=url, out=out, api_key=key, model="", write=printed.append)
    return code, "".join(printed)


async def test_a_question_is_heard_answered_timed_and_the_reply_written(tmp_path: Path) -> None:
    question = recording(tmp_path / "question.wav", flite(QUESTION))
    async with service([QUESTION], [ANSWER]) as (url, _):
        code, printed = await talking(url, question, out=tmp_path / "reply.wav")
    assert code == talk.ANSWERED
    lines = printed.splitlines()
    assert lines[0].startswith("question.wav (")
    assert lines[1].startswith("  hearing  what")
    assert lines[2:4] == [f"  you      {QUESTION}", f"  parley   {ANSWER}"]
    assert [line.split("█")[0].strip() for line in lines[4:9]] == [
        "endpoint wait",
        "recognizer",
        "first token",
        "first clause",
        "first audio",
    ]
    assert "from the end of speech to the first sound" in lines[9]
    with wave.open(str(tmp_path / "reply.wav")) as reply:
        assert (reply.getframerate(), reply.getnchannels(), reply.getsampwidth()) == (24_000, 1, 2)
        assert reply.getnframes() == 1200 * len(ANSWER)  # what the scripted synthesizer speaks


async def test_several_recordings_are_turns_of_one_conversation(tmp_path: Path) -> None:
    question = recording(tmp_path / "question.wav", flite(QUESTION))
    async with service([QUESTION, "and now"], ["Ten.", "Eleven."]) as (url, workers):
        code, printed = await talking(url, question, question, out=tmp_path / "reply.wav")
    assert code == talk.ANSWERED
    assert "Ten." in printed
    assert "Eleven." in printed
    assert (tmp_path / "reply-1.wav").is_file()
    assert (tmp_path / "reply-2.wav").is_file()
    assert isinstance(workers.language, ScriptedLanguage)
    said = [message["content"] for message in workers.language.requests[1].messages if message["role"] != "system"]
    assert said == [QUESTION, "Ten.", "and now"]  # the first answer was heard out, not interrupted


async def test_a_recording_without_speech_ends_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "HEARING_SECONDS", 0.3)
    async with service() as (url, _):
        code, printed = await talking(url, recording(tmp_path / "silence.wav", silence(0.5)))
    assert code == talk.UNANSWERED
    assert "no speech was noticed" in printed


async def test_words_that_nobody_understood_are_no_answer(tmp_path: Path) -> None:
    async with service([""]) as (url, _):
        code, printed = await talking(url, recording(tmp_path / "question.wav", flite(QUESTION)))
    assert code == talk.UNANSWERED
    assert "(nothing that could be understood)" in printed


async def test_an_answer_that_never_comes_ends_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "ANSWER_SECONDS", 1.0)
    async with service([QUESTION], [[HOLD]]) as (url, _):
        code, printed = await talking(url, recording(tmp_path / "question.wav", flite(QUESTION)))
    assert code == talk.UNANSWERED
    assert "no answer came within 1 s" in printed


@pytest.mark.parametrize(
    ("heard", "replies", "words"),
    [
        ([QUESTION], [WorkerError("the model is away")], "the reply failed: the model is away"),
        ([WorkerError("the ear is away")], [], "not understood: the ear is away"),
    ],
)
async def test_a_failed_stage_is_named(
    tmp_path: Path, heard: list[str | Exception], replies: list[Any], words: str
) -> None:
    async with service(heard, replies) as (url, _):
        code, printed = await talking(url, recording(tmp_path / "question.wav", flite(QUESTION)))
    assert code == talk.UNANSWERED
    assert words in printed


async def test_a_key_is_sent_and_a_wrong_one_refused(tmp_path: Path) -> None:
    question = recording(tmp_path / "question.wav", flite(QUESTION))
    async with service([QUESTION], [ANSWER], key="right") as (url, _):
        with pytest.raises(AccessDenied, match="not one of this service's keys"):
            await talking(url, question, key="wrong")
        code, _ = await talking(url, question, key="right")
    assert code == talk.ANSWERED


async def test_what_cannot_work_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    question = recording(tmp_path / "question.wav", flite(QUESTION))
    (tmp_path / "text.wav").write_text("this is no audio")
    async with service() as (url, workers):
        for path, words in ((tmp_path / "none.wav", "No such file"), (tmp_path / "text.wav", "is not a recording")):
            with pytest.raises(BadAudio, match=words):
                await talking(url, question, path)
        with pytest.raises(BadRequest, match="is not the address of a service"):
            await talking("127.0.0.1:8000", question)
        with pytest.raises(BadRequest, match="not served here"):
            await talk.talk([question], url=url, out=None, api_key="", model="other", write=print)
        assert isinstance(workers.recognizer, ScriptedRecognizer)
        assert workers.recognizer.heard == []
    with pytest.raises(WorkerUnavailable, match="parley serve"):
        await talking(url, question)  # the service is gone now


async def test_the_command_line_says_it_in_one_line_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = recording(tmp_path / "question.wav", flite(QUESTION))
    parser = argparse.ArgumentParser()
    talk.add_arguments(parser)

    async def run(*line: str) -> int:
        return await asyncio.to_thread(talk.run, parser.parse_args([str(word) for word in line]))

    async with service([QUESTION], [ANSWER], key="right") as (url, _):
        assert await run(str(question), "--url", url, "--api-key", "right") == talk.ANSWERED
        assert ANSWER in capsys.readouterr().out
        assert await run(str(question), "--url", url, "--api-key", "wrong") == talk.REFUSED
        assert await run(str(tmp_path / "none.wav"), "--url", url) == talk.BAD_INPUT
    assert await run(str(question), "--url", url) == talk.NO_SERVICE
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert all(line.startswith("parley: ") for line in errors)


def test_a_typed_turns_time_line_has_no_wait() -> None:
    timings = {"endpoint_wait_ms": None, "recognizer_ms": None, "first_token_ms": 10, "first_clause_ms": 20}
    lines = time_line({**timings, "first_audio_ms": 40})
    assert [line.split()[0:2] for line in lines[:3]] == [["first", "token"], ["first", "clause"], ["first", "audio"]]
    assert lines[2].count("█") == 4 * lines[0].count("█")  # in proportion
    assert lines[3].startswith("70 ms from the end of speech")
