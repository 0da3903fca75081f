"""`parley bench synthesizer`: callers who have replies spoken at once: first audio, real-time factor, underruns.

Asks a synthesizer in this process, or a worker at a URL as the gateway would, and plays what comes as an ear would.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app import REPOSITORY
from app.audio import REALTIME_RATE, seconds_of
from app.bench.caller import Ear
from app.bench.report import Cell, Report
from app.bench.service import check_loopback
from app.errors import BadRequest, ParleyError
from app.packs import find_pack
from app.reply import CHUNKS_AHEAD, Speech, ahead, paced, speak
from app.workers.base import Synthesizer
from app.workers.connect import load_synthesizer, reach_synthesizer

AHEAD_SECONDS = 4.0  # of the ear, as in the gateway
COOL_SECONDS = 2.0
REPLIES: tuple[tuple[str, ...], ...] = (
    # clause by clause, as the gateway cuts them
    ("The time is 10:55 AM.",),
    ("Okay, ", "your timer is set for forty five minutes."),
    ("I am offline, ", "so I cannot look at the weather in Berlin. ", "Ask me about the time instead."),
    ("Hello, I am Parley. ", "I can tell the time, set timers and do sums. ", "How can I help you?"),
    (
        "Once upon a time there was a small lamp in a kitchen. ",
        "Every evening it was switched on, ",
        "and it was glad.",
    ),
)


@dataclass(slots=True)
class Spoken:
    """One reply, as its listener heard it."""

    ear: Ear = field(default_factory=Ear)
    first_audio_ms: float = 0.0
    seconds: float = 0.0
    """From asking to the last audio."""
    failure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley bench synthesizer`."""
    parser.add_argument("--url", default="", help="a synthesizer worker on this machine [the pack's voice, in here]")
    parser.add_argument("--pack", default="en-starter", help="whose voice [en-starter]")
    parser.add_argument("--packs", type=Path, default=REPOSITORY / "models" / "packs", help="folder of the packs")
    parser.add_argument(
        "--random-vits",
        action="store_true",
        help="instead, a VITS of Coqui TTS with random weights: speed, not quality",
    )
    parser.add_argument("--device", default="auto", help="of a Coqui voice: auto, cpu or cuda [auto]")
    parser.add_argument("--threads", type=int, default=1, help="of the voice in here [1]")
    parser.add_argument("--callers", default="1,4,16", help="how many at once, one number after the other [1,4,16]")
    parser.add_argument("--replies", type=int, default=4, help="that each caller hears out [4]")


def run(args: argparse.Namespace) -> Report:
    """Benches. Raises BadRequest, PackError, WorkerError."""
    try:
        counts = [int(count) for count in args.callers.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1 or args.replies < 1:
        raise BadRequest(f"got {args.callers} callers and {args.replies} replies, expected numbers of at least 1")
    if args.url:
        check_loopback(args.url)
        return asyncio.run(bench(reach_synthesizer(args.url), counts, args.replies, {"synthesizer": args.url}))
    if args.random_vits:
        return _bench_random(counts, args.replies, args.device, args.threads)
    voice = load_synthesizer(find_pack(args.packs, args.pack), device=args.device, threads=args.threads)
    about: dict[str, Cell] = {"pack": args.pack, "threads": args.threads}
    return asyncio.run(bench(voice, counts, args.replies, about, in_here=True))


def _bench_random(counts: Sequence[int], replies: int, device: str, threads: int) -> Report:
    """As `bench`, with the floor of the network's arithmetic beside the figures."""
    from app.bench.random_vits import floor_rtf, write_vits
    from app.workers.coqui_vits import CoquiVits

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_vits(folder)
        floor = floor_rtf(folder, device=device, threads=threads)
        voice = CoquiVits(folder, names=("random",), model="random VITS", device=device, threads=threads)
        about = {"threads": threads}
        try:
            report = asyncio.run(bench(voice, counts, replies, about, in_here=True))
        finally:
            voice.close()
    note = (
        f"arithmetic floor: RTF {floor:.2g} of one caller, its multiplications at the speed of a large matrix product"
    )
    return dataclasses.replace(report, notes=[*report.notes, note])


async def bench(
    synthesizer: Synthesizer, counts: Sequence[int], replies: int, about: Mapping[str, Cell], *, in_here: bool = False
) -> Report:
    """Every caller hears `replies` replies out, one after the other; `in_here`: the voice runs in this process."""
    rows: list[dict[str, Cell]] = []
    notes: list[str] = []
    health = await synthesizer.health()
    configuration = {**about, "engine": health.engine, "model": health.model, "ahead_s": AHEAD_SECONDS}
    if "device" in health.detail:
        configuration["device"] = str(health.detail["device"])
    for count in counts:
        if rows:
            await asyncio.sleep(COOL_SECONDS)
        before = time.process_time()
        each = await asyncio.gather(*(_caller(synthesizer, number, replies) for number in range(count)))
        heard = [reply for caller in each for reply in caller]
        row = summarise(heard, count)
        if in_here:
            row["cpu_rtf"] = (time.process_time() - before) / (float(row["audio_s"]) or 1.0)
        rushed = await asyncio.gather(*(_hear(synthesizer, _reply(n), ahead_seconds=math.inf) for n in range(count)))
        row["rtf"] = rtf(rushed)
        rows.append(row)
        notes += [f"{count} callers: {failure}" for failure in sorted({r.failure for r in heard if r.failure})]
    notes.append("rtf: seconds until the slowest of all callers has its whole reply, over the reply's seconds, unpaced")
    return Report("synthesizer", configuration, rows, notes, ("first_audio_p50_ms", "first_audio_p95_ms", "rtf"))


def summarise(heard: Sequence[Spoken], callers: int) -> dict[str, Cell]:
    """The figures of one number of callers; latencies are of the replies that were heard."""
    row: dict[str, Cell] = {"callers": callers, "replies": len(heard)}
    first = [reply.first_audio_ms for reply in heard if not reply.failure]
    if first:
        row |= {f"first_audio_p{which}_ms": float(np.percentile(first, which)) for which in (50, 95)}
    row["underruns"] = sum(reply.ear.underruns for reply in heard)
    row["longest_gap_ms"] = 1000 * max((reply.ear.gap_seconds for reply in heard), default=0.0)
    row["failed"] = sum(bool(reply.failure) for reply in heard)
    row["audio_s"] = sum(seconds_of(bytes(reply.ear.pcm), REALTIME_RATE) for reply in heard)
    return row


def rtf(rushed: Sequence[Spoken]) -> float:
    """Real-time factor of the slowest reply; 1 is just fast enough."""
    return max((r.seconds / seconds_of(bytes(r.ear.pcm), REALTIME_RATE) for r in rushed if r.ear.pcm), default=0.0)


async def _caller(synthesizer: Synthesizer, number: int, replies: int) -> list[Spoken]:
    heard = []
    for turn in range(replies):
        # All callers ask at once in the first turn, the worst case; later they drift apart as their replies end.
        reply = await _hear(synthesizer, _reply(number + turn), ahead_seconds=AHEAD_SECONDS)
        heard.append(reply)
        await asyncio.sleep(max(0.0, reply.ear.ends - time.monotonic()))
    return heard


def _reply(number: int) -> Sequence[str]:
    return REPLIES[number % len(REPLIES)]


async def _hear(synthesizer: Synthesizer, clauses: Sequence[str], *, ahead_seconds: float) -> Spoken:
    """One reply by the way that the gateway speaks it: clause after clause, never far ahead of the ear."""
    heard = Spoken()
    began = time.monotonic()
    speech = paced(ahead(speak(_written(clauses), synthesizer), CHUNKS_AHEAD), ahead_seconds)
    try:
        async with contextlib.aclosing(speech):
            async for piece in speech:
                _play(piece, heard, began)
    except ParleyError as error:
        heard.failure = error.message
    heard.seconds = time.monotonic() - began
    return heard


def _play(piece: Speech, heard: Spoken, began: float) -> None:
    now = time.monotonic()
    if heard.ear.began is None:
        heard.first_audio_ms = 1000 * (now - began)
    heard.ear.hear(piece.pcm, now)


async def _written(clauses: Sequence[str]) -> AsyncGenerator[str, None]:
    for clause in clauses:
        yield clause
