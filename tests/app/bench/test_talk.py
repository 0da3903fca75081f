"""The logic of `parley bench talk`: the ear, the figures, and one turn against a real gateway with scripted workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.access import Access
from app.audio import REALTIME_RATE, to_waveform
from app.bench import command
from app.bench.caller import Ear, Outcome, appends, turn, without_trailing_silence
from app.bench.talk import Question, aims, cpu_of_a_turn, summarise
from app.bench.words import word_errors
from app.errors import WorkerBusy, WorkerError
from app.gateway import create_app
from app.speaking import Workers
from app.workers.scripted import ScriptedLanguage, ScriptedRecognizer, ScriptedSynthesizer
from tests.packs import SCRIPTED
from tests.serving import serving
from tests.sounds import flite

TENTH = bytes(REALTIME_RATE // 10 * 2)
TIMINGS = {
    "endpoint_wait_ms": 500.0,
    "recognizer_ms": 40.0,
    "first_token_ms": 30.0,
    "first_clause_ms": 20.0,
    "first_audio_ms": 10.0,
}


def test_an_ear_that_is_kept_supplied_hears_no_gap() -> None:
    ear = Ear()
    for now in (5.0, 5.05, 5.15, 5.29):
        ear.hear(TENTH, now)
    assert (ear.underruns, ear.began) == (0, 5.0)
    assert round(ear.ends, 3) == 5.4


def test_late_audio_is_a_gap_and_is_heard_later() -> None:
    ear = Ear()
    for now in (5.0, 5.5, 5.55):
        ear.hear(TENTH, now)
    assert ear.underruns == 1
    assert round(ear.gap_seconds, 3) == 0.4
    assert round(ear.ends, 3) == 5.7


def test_figures_count_what_was_missed_wrong_and_late() -> None:
    late = Ear()
    late.hear(TENTH, 1.0)
    late.hear(TENTH, 2.0)
    good = Outcome(heard="hello", replied="Hello.", done=True, timings=TIMINGS, ear=late, spoken_at=0.4)
    wrong = Outcome(heard="yellow", replied="Red.", done=True, timings=TIMINGS, ear=Ear())
    lost = Outcome(failure="full", refused=True)
    row = summarise([(Question("hello", "hello", ()), outcome) for outcome in (good, wrong, lost)], 3)
    assert (row["callers"], row["turns"], row["missing"], row["refused"]) == (3, 3, 1, 1)
    assert (row["first_audio_p50_ms"], row["endpoint_wait_p95_ms"], row["turns_with_underrun"]) == (100, 500, 1)
    assert (round(float(row["fitting_percent"])), round(float(row["heard_exactly_percent"]))) == (33, 33)


def test_the_aim_is_missed_by_latency_and_by_missing_answers() -> None:
    assert "met, 400 ms" in aims([{"callers": 16, "first_audio_p95_ms": 400.0, "missing": 0}])[0]
    assert "missed" in aims([{"callers": 16, "first_audio_p95_ms": 501.0, "missing": 0}])[0]
    assert "missed" in aims([{"callers": 16, "first_audio_p95_ms": 400.0, "missing": 1}])[0]
    assert aims([{"callers": 1, "first_audio_p95_ms": 400.0, "missing": 0}]) == []


def test_cpu_time_is_counted_over_restarts() -> None:
    before = {("gateway", 1): 2.0, ("language", 2): 1.0}
    after = {("gateway", 9): 0.5, ("language", 2): 1.25}
    row = cpu_of_a_turn(before, after, 10)
    assert row == {"cpu_of_a_turn_gateway_ms": 50, "cpu_of_a_turn_language_ms": 25, "restarts": 1}


def test_speech_ends_with_its_last_sound() -> None:
    sound = np.full(2400, 8000, np.int16).tobytes()
    assert without_trailing_silence(sound + bytes(9600)) == sound
    assert len(appends(sound + b"\1\0")) == 3  # 40 ms each, the last one filled up


@contextlib.asynccontextmanager
async def service(heard: Sequence[str | Exception], replies: Sequence[str]) -> AsyncIterator[str]:
    workers = Workers(
        ScriptedRecognizer(heard), ScriptedLanguage(replies), ScriptedSynthesizer(samples_per_character=60)
    )
    async with serving(create_app(SCRIPTED, workers, access=Access(frozenset()))) as url:
        yield url


async def test_a_turn_is_heard_answered_and_timed() -> None:
    async with service(["what time is it"], ["It is ten."]) as url:
        outcome = await turn(url, appends(flite("what time is it")))
    assert (outcome.heard, outcome.replied, outcome.failure) == ("what time is it", "It is ten.", "")
    assert outcome.done
    assert len(outcome.ear.pcm) > 0
    assert outcome.first_audio_ms is not None
    assert outcome.felt_ms is not None


async def test_a_full_worker_is_a_refusal_and_no_failure_of_the_bench() -> None:
    async with service(["hello"], []) as url:
        outcome = await turn(url, appends(flite("hello")))
    assert not outcome.done
    assert outcome.failure

    async with service([WorkerBusy("full")], []) as url:
        outcome = await turn(url, appends(flite("hello")))
    assert outcome.refused
    assert "full" in outcome.failure


async def test_a_service_that_is_not_there_is_a_failure() -> None:
    outcome = await turn("http://127.0.0.1:9", appends(TENTH))
    assert not outcome.done
    assert "no service answers" in outcome.failure


def test_word_errors_are_the_least_edits() -> None:
    assert word_errors(["a", "b", "c"], ["a", "x", "c", "d"]) == 2
    assert word_errors([], ["a"]) == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_a_bench_whose_turns_had_no_answer_has_failed_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: bool
) -> None:
    question = tmp_path / "question.wav"
    soundfile.write(question, to_waveform(flite("what time is it")), REALTIME_RATE)
    language = ScriptedLanguage([WorkerError("out of order") if fails else "Ten past four."])
    workers = Workers(ScriptedRecognizer(["what time is it"]), language, ScriptedSynthesizer())
    async with serving(create_app(SCRIPTED, workers)) as url:
        arguments = ["talk", "--url", url, "--turns", "1", "--recordings", str(question), "--no-judge"]
        status = await asyncio.to_thread(command.main, [*arguments, "--out", str(tmp_path)])
    printed = capsys.readouterr()
    assert status == int(fails)
    assert ("1 callers: 1 of 1 turns had no answer" in printed.err) == fails
