"""`parley bench talk`: whole turns of callers in real time against a service. Knows the service by its public protocol.

Every turn is a session of its own: a question, its answer heard out, a pause. Replies to a lone caller are judged by
PocketSphinx, which was trained on none of our voices.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.audio import HEARING_RATE, REALTIME_RATE, resample, to_pcm16, to_waveform
from app.bench import caller
from app.bench.caller import STAGES, Outcome, appends, without_trailing_silence
from app.bench.questions import QUESTIONS
from app.bench.report import Cell, Report
from app.bench.service import Service, service
from app.bench.speech import speaker, spoken
from app.bench.words import word_errors
from app.errors import BadRequest
from app.spoken import spoken_form
from app.talk import read_recording
from app.workers.connect import load_judge

PAUSE_SECONDS = 1.0  # of a caller between two turns, half as much to one and a half times as much
LEAD = bytes(REALTIME_RATE)  # half a second of silence before a question
TURNS_EACH = 6  # at least, of every caller, so that percentiles of many callers rest on many turns
COOL_SECONDS = 5.0  # between two numbers of callers
AUDIBLE = 0.005  # root mean square of a reply that can be heard, full scale 1
LOST = 0.5  # of the turns: when more have no answer, more callers would say nothing new
DRAWN = (
    "first_audio_p50_ms",
    "first_audio_p95_ms",
    "missing",
    "refused",
    "turns_with_underrun",
    "heard_exactly_percent",
    "fitting_percent",
)
AIM_CALLERS, AIM_MS = 16, 500  # on two cores with the starter pack, 95 of 100 turns


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller says."""

    text: str
    """Empty where it is not known."""
    fitting: str
    """Regular expression found in a fitting reply, case ignored."""
    messages: Sequence[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley bench talk`."""
    parser.add_argument("--url", default="", help="a service that runs on this machine [one is started]")
    parser.add_argument("--callers", default="1", help="how many at once; several as 1,4,16, one after the other [1]")
    parser.add_argument(
        "--turns", type=int, default=len(QUESTIONS), help=f"of all callers, or {TURNS_EACH} each [{len(QUESTIONS)}]"
    )
    parser.add_argument("--recordings", type=Path, nargs="+", help="what the callers say [questions for the starter]")
    parser.add_argument("--no-judge", action="store_true", help="leave out the transcript of the replies")


def run(args: argparse.Namespace) -> Report:
    """Benches. Raises BadRequest, BadAudio, WorkerUnavailable."""
    try:
        counts = [int(count) for count in args.callers.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or args.turns < 1:
        raise BadRequest(f"got {args.callers} callers and {args.turns} turns, expected numbers of at least 1")
    return asyncio.run(_bench(args.url, counts, args.turns, args.recordings or (), judged=not args.no_judge))


async def _bench(url: str, counts: Sequence[int], turns: int, recordings: Sequence[Path], *, judged: bool) -> Report:
    rows: list[dict[str, Cell]] = []
    notes: list[str] = []
    async with service(url) as here:
        questions = await _questions(here.url, recordings)
        for count in counts:
            if rows:
                await asyncio.sleep(COOL_SECONDS)
            before, own = here.cpu_seconds(), time.process_time()
            asked = max(turns, count * TURNS_EACH) if count > 1 else turns
            outcomes = await _calls(here, questions, count, asked)
            row = summarise(outcomes, count)
            if before:
                row |= cpu_of_a_turn(before, here.cpu_seconds(), asked)
            row["cpu_of_a_turn_callers_ms"] = 1000 * (time.process_time() - own) / asked
            if judged and count == 1:
                row |= await _judged([outcome for _, outcome in outcomes])
            rows.append(row)
            failures = collections.Counter(outcome.failure for _, outcome in outcomes if outcome.failure)
            notes += [f"{count} callers, {n} turns: {failure}" for failure, n in failures.most_common(3)]
            if float(row["missing"]) > LOST * asked:
                notes.append(f"stopped at {count} callers: {row['missing']} of {asked} turns had no answer")
                break
    notes += aims(rows)
    configuration: dict[str, Cell] = {
        "service": url or "parley serve",
        "speech": "recordings" if recordings else speaker(),
        "pause_s": PAUSE_SECONDS,
    }
    return Report("talk", configuration, rows, notes, DRAWN, unanswered(rows))


def summarise(outcomes: Sequence[tuple[Question, Outcome]], callers: int) -> dict[str, Cell]:
    """The figures of one number of callers. Latencies are of the turns that had an answer."""
    n = len(outcomes)
    row: dict[str, Cell] = {"callers": callers, "turns": n}
    answered = [outcome for _, outcome in outcomes if outcome.timings is not None]
    if answered:
        row |= _percentiles("first_audio", [outcome.first_audio_ms or 0.0 for outcome in answered])
        row |= _percentiles("endpoint_wait", [_timing(outcome, "endpoint_wait_ms") for outcome in answered])
        for stage in STAGES:
            name = {"first_audio_ms": "speech"}.get(stage, stage.removesuffix("_ms"))
            row |= _percentiles(name, [_timing(outcome, stage) for outcome in answered])
        row |= _percentiles("felt", [outcome.felt_ms or 0.0 for outcome in answered])
    row["missing"] = sum(not outcome.done for _, outcome in outcomes)
    row["refused"] = sum(outcome.refused for _, outcome in outcomes)
    row["turns_with_underrun"] = sum(outcome.ear.underruns > 0 for _, outcome in outcomes)
    row["longest_gap_ms"] = 1000 * max((outcome.ear.gap_seconds for _, outcome in outcomes), default=0.0)
    row["audible_percent"] = 100 * sum(_audible(outcome) for _, outcome in outcomes) / n
    if all(question.text for question, _ in outcomes):
        row["heard_exactly_percent"] = 100 * sum(o.heard == q.text for q, o in outcomes) / n
        row["fitting_percent"] = 100 * sum(_fits(q, o) for q, o in outcomes) / n
    return row


def cpu_of_a_turn(
    before: Mapping[tuple[str, int], float], after: Mapping[tuple[str, int], float], turns: int
) -> dict[str, Cell]:
    """CPU time of each stage, and how many of the service's processes had to be started again meanwhile."""
    row: dict[str, Cell] = {}
    for (name, pid), seconds in sorted(after.items()):
        key = f"cpu_of_a_turn_{name}_ms"
        row[key] = float(row.get(key, 0)) + 1000 * (seconds - before.get((name, pid), 0)) / turns
    row["restarts"] = len(after.keys() - before.keys())
    return row


def aims(rows: Sequence[dict[str, Cell]]) -> list[str]:
    """Whether the aim is met, where its number of callers was measured."""
    notes = []
    for row in rows:
        if row["callers"] == AIM_CALLERS and "first_audio_p95_ms" in row:
            met = float(row["first_audio_p95_ms"]) <= AIM_MS and not row["missing"]
            notes.append(
                f"aim: {AIM_CALLERS} callers, first audio p95 at most {AIM_MS} ms without the endpoint wait:"
                f" {'met' if met else 'missed'}, {float(row['first_audio_p95_ms']):.0f} ms, {row['missing']} missing"
            )
    return notes


def unanswered(rows: Sequence[dict[str, Cell]]) -> list[str]:
    """Where turns had no answer."""
    return [
        f"{row['callers']} callers: {row['missing']} of {row['turns']} turns had no answer"
        for row in rows
        if row["missing"]
    ]


async def _questions(url: str, recordings: Sequence[Path]) -> list[Question]:
    if recordings:
        sounds = [without_trailing_silence(read_recording(path)) for path in recordings]
        return [Question("", "", appends(LEAD + sound)) for sound in sounds]
    return [
        Question(text, fitting, appends(LEAD + without_trailing_silence(await spoken(text, number, url))))
        for number, (text, fitting) in enumerate(QUESTIONS)
    ]


async def _calls(
    here: Service, questions: Sequence[Question], callers: int, turns: int
) -> list[tuple[Question, Outcome]]:
    """All turns of so many callers at once."""
    outcomes: list[tuple[Question, Outcome]] = []
    asked = zip(range(turns), itertools.cycle(questions))  # shared: whoever is ready asks the next one

    async def call(number: int) -> None:
        chance = random.Random(number)
        await asyncio.sleep(chance.uniform(0, 3 * PAUSE_SECONDS) if callers > 1 else 0)  # nobody dials in step
        for _, question in asked:
            outcome = await caller.turn(here.url, question.messages)
            outcomes.append((question, outcome))
            print(_line(len(outcomes), turns, question, outcome))
            heard_out = outcome.ear.ends - time.monotonic()
            await asyncio.sleep(max(0.0, heard_out) + PAUSE_SECONDS * chance.uniform(0.5, 1.5))

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(call(number))
    return outcomes


async def _judged(outcomes: Sequence[Outcome]) -> dict[str, Cell]:
    """Word errors of the replies' audio as PocketSphinx hears it, against their text."""
    judge = load_judge()
    words = errors = 0
    for outcome in outcomes:
        if outcome.ear.pcm:
            recognition = await judge.start()
            recognition.feed(to_pcm16(resample(to_waveform(bytes(outcome.ear.pcm)), REALTIME_RATE, HEARING_RATE)))
            heard = (await recognition.finish()).text.split()
            said = spoken_form(outcome.replied).split()
            words += len(said)
            errors += word_errors(said, heard)
    return {"reply_words": words, "reply_wer_percent": 100 * errors / words} if words else {}


def _line(number: int, turns: int, question: Question, outcome: Outcome) -> str:
    ms = outcome.first_audio_ms
    ok = " " if outcome.done and outcome.heard == question.text and _fits(question, outcome) else "!"
    came = f"{ms:5.0f} ms" if ms is not None else "no answer"
    said = repr(outcome.replied[:90]) if outcome.done else outcome.failure
    return f"{number:3}/{turns} {ok} {came}  {question.text!r} heard {outcome.heard!r}: {said}"


def _fits(question: Question, outcome: Outcome) -> bool:
    return outcome.done and re.search(question.fitting, outcome.replied, re.IGNORECASE) is not None


def _audible(outcome: Outcome) -> bool:
    waveform = to_waveform(bytes(outcome.ear.pcm))
    return len(waveform) > 0 and float(np.sqrt(np.mean(waveform**2))) > AUDIBLE


def _timing(outcome: Outcome, key: str) -> float:
    assert outcome.timings is not None
    return outcome.timings[key]


def _percentiles(name: str, values: Sequence[float]) -> dict[str, Cell]:
    return {f"{name}_p{which}_ms": float(np.percentile(values, which)) for which in (50, 95)}
