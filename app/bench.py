"""`parley bench`: whole turns in real time against a running service; figures with their configuration. Loopback only.

Knows the service by its public protocol. Questions are spoken by flite where it is installed (a build tool of the
starter, voices it was trained on), else by the service's own voice. Replies are judged by PocketSphinx, which was
trained on none of our voices.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import orjson

from app.access import is_loopback
from app.audio import HEARING_RATE, REALTIME_RATE, Pcm16, resample, to_pcm16, to_waveform
from app.bench_questions import QUESTIONS
from app.errors import BadRequest, WorkerUnavailable
from app.media import decode_to
from app.spoken import spoken_form
from app.supervisor import free_port
from app.talk import TRANSCRIBE, Microphone, dial
from app.workers.base import Recognizer
from app.workers.connect import load_judge

VOICES = ("slt", "awb", "kal16")  # of flite, in turn
STAGES = ("recognizer_ms", "first_token_ms", "first_clause_ms", "first_audio_ms")
TURN_SECONDS = 30.0  # for an answer; a turn without one counts as unanswered
AUDIBLE = 0.005  # root mean square of a reply that can be heard, full scale 1


@dataclass(slots=True)
class Outcome:
    """One turn."""

    asked: str
    heard: str = ""
    replied: str = ""
    fits: bool = False
    audible: bool = False
    endpoint_wait_ms: float | None = None
    first_sound_ms: float | None = None
    """End of speech to first audio, endpoint wait excluded."""
    stages: dict[str, float] | None = None
    reply_words: int = 0
    reply_word_errors: int = 0
    """Of the reply's audio as PocketSphinx hears it, against its text."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley bench`."""
    parser.add_argument("--url", default="", help="a service that runs on this machine [one is started]")
    parser.add_argument("--turns", type=int, default=len(QUESTIONS), help=f"how many questions [{len(QUESTIONS)}]")
    parser.add_argument("--json", type=Path, help="also write every turn to this file")
    parser.add_argument("--no-judge", action="store_true", help="leave out the transcript of the replies")


def run(args: argparse.Namespace) -> int:
    """Benches; the exit status is 0 when every turn was answered."""
    if args.url and not is_loopback(urlsplit(args.url).hostname or ""):
        raise BadRequest(f"the bench loads this machine only, got {args.url}")
    outcomes = asyncio.run(_bench(args.url, args.turns, judged=not args.no_judge))
    report = summarise(outcomes)
    print(f"\n{report}")
    if args.json:
        machine = {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"machine": machine, "turns": [asdict(o) for o in outcomes]}, indent=1))
    return 0 if all(outcome.first_sound_ms is not None for outcome in outcomes) else 1


def summarise(outcomes: Sequence[Outcome]) -> str:
    """The figures, each with its n."""
    n = len(outcomes)
    lines = [f"parley bench: {n} turns, one caller, real time; {os.cpu_count()} cores, {_cpu()}"]
    first = [o.first_sound_ms for o in outcomes if o.first_sound_ms is not None]
    if first:
        lines.append(
            f"end of speech to first audio, endpoint wait excluded: median {np.median(first):.0f} ms,"
            f" p95 {np.percentile(first, 95):.0f} ms, worst {max(first):.0f} ms (n {len(first)})"
        )
        waits = [o.endpoint_wait_ms for o in outcomes if o.endpoint_wait_ms is not None]
        lines.append(f"endpoint wait: median {np.median(waits):.0f} ms (n {len(waits)})")
        for stage in STAGES:
            values = [o.stages[stage] for o in outcomes if o.stages is not None]
            lines.append(
                f"  {stage.removesuffix('_ms').replace('_', ' '):<13}"
                f" median {np.median(values):5.0f} ms, p95 {np.percentile(values, 95):5.0f} ms"
            )
    lines.append(f"heard exactly: {sum(o.heard == o.asked for o in outcomes)} of {n}")
    lines.append(f"fitting reply: {sum(o.fits for o in outcomes)} of {n}")
    lines.append(f"audible reply: {sum(o.audible for o in outcomes)} of {n}")
    if words := sum(o.reply_words for o in outcomes):
        errors = sum(o.reply_word_errors for o in outcomes)
        lines.append(f"replies heard by PocketSphinx: WER {100 * errors / words:.1f} % ({words} words)")
    return "\n".join(lines)


async def _bench(url: str, turns: int, *, judged: bool) -> list[Outcome]:
    outcomes = []
    judge = load_judge() if judged else None
    async with _service(url) as here:
        for number in range(turns):
            asked, fitting = QUESTIONS[number % len(QUESTIONS)]
            question = await _spoken(asked, VOICES[number % len(VOICES)], here)
            outcome, reply = await _turn(here, asked, question)
            outcome.fits = re.search(fitting, outcome.replied, re.IGNORECASE) is not None
            outcome.audible = bool(reply) and float(np.sqrt(np.mean(to_waveform(reply) ** 2))) > AUDIBLE
            if judge is not None and reply:
                await _judge(judge, outcome, reply)
            outcomes.append(outcome)
            ms = f"{outcome.first_sound_ms:5.0f} ms" if outcome.first_sound_ms is not None else "no answer"
            ok = " " if outcome.heard == asked and outcome.fits else "!"
            print(f"{number + 1:3}/{turns} {ok} {ms}  {asked!r} heard {outcome.heard!r}: {outcome.replied[:90]!r}")
    return outcomes


async def _turn(url: str, asked: str, question: Pcm16) -> tuple[Outcome, Pcm16]:
    """One session with one question; its outcome, and the reply's audio at REALTIME_RATE."""
    outcome = Outcome(asked)
    reply = bytearray()
    async with dial(url, "", os.environ.get("PARLEY_API_KEY", "")) as socket:
        await socket.send(orjson.dumps(TRANSCRIBE).decode())
        microphone = Microphone(socket)
        microphone.say(question)
        streaming = asyncio.create_task(microphone.stream())
        try:
            async with asyncio.timeout(TURN_SECONDS):
                while True:
                    event: dict[str, Any] = orjson.loads(await socket.recv())
                    match event["type"]:
                        case "conversation.item.input_audio_transcription.completed":
                            outcome.heard = event["transcript"]
                        case "response.output_audio_transcript.delta":
                            outcome.replied += event["delta"]
                        case "response.output_audio.delta":
                            reply += base64.b64decode(event["delta"])
                        case "parley.turn.timings":
                            outcome.endpoint_wait_ms = event["endpoint_wait_ms"]
                            outcome.stages = {stage: event[stage] for stage in STAGES}
                            outcome.first_sound_ms = sum(outcome.stages.values())
                        case "response.done":
                            break
        except TimeoutError:
            pass  # the outcome says that no answer came
        finally:
            streaming.cancel()
    return outcome, bytes(reply)


async def _judge(judge: Recognizer, outcome: Outcome, reply: Pcm16) -> None:
    """Counts the word errors of a reply, as the judge hears it."""
    recognition = await judge.start()
    recognition.feed(to_pcm16(resample(to_waveform(reply), REALTIME_RATE, HEARING_RATE)))
    heard = (await recognition.finish()).text.split()
    said = spoken_form(outcome.replied).split()
    outcome.reply_words = len(said)
    outcome.reply_word_errors = _distance(said, heard)


def _distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(hypothesis, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != got))
    return row[-1]


async def _spoken(text: str, voice: str, url: str) -> Pcm16:
    """The question as audio at REALTIME_RATE, with some silence before it."""
    silence = bytes(REALTIME_RATE)  # half a second
    if shutil.which("flite"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "question.wav"
            await asyncio.to_thread(subprocess.run, ["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
            return silence + to_pcm16(decode_to(path.read_bytes(), REALTIME_RATE))
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        body = {"model": "tts-1", "input": text, "voice": "alloy", "response_format": "pcm"}
        answer = await client.post(f"{url}/v1/audio/speech", json=body)
        return silence + answer.raise_for_status().content


@contextlib.asynccontextmanager
async def _service(url: str) -> AsyncIterator[str]:
    """The given service, or one of our own that ends with the bench."""
    if url:
        yield url.rstrip("/")
        return
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", "serve", "--port", str(port), "--log-level", "warning"
    )
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            deadline = time.monotonic() + 120
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{here}/health")).json()["status"] == "ok":
                        break
                if process.returncode is not None or time.monotonic() > deadline:
                    raise WorkerUnavailable("the service did not become ready; its log is above")
                await asyncio.sleep(0.2)
        yield here
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
