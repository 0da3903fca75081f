"""`parley bench recognizer`: the same weights and clips by stock faster-whisper and by us, for 1, 4 and 16 callers.

Each caller asks for the words of one clip after the other, as fast as they come. Stock faster-whisper serves one at a
time and pads to 30 s. Ours shares batches; `ours, padded` keeps the 30 s, which is what batching alone gives a model
that was not trained on short windows.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import math
import re
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app import REPOSITORY
from app.audio import HEARING_RATE, REALTIME_RATE, Pcm16, resample, seconds_of, to_pcm16, to_waveform
from app.bench.questions import QUESTIONS
from app.bench.report import Cell, Report
from app.bench.speech import speaker, spoken
from app.bench.stock_whisper import StockWhisper
from app.bench.words import word_errors
from app.errors import BadRequest
from app.media import decode_to
from app.packs import Pack, RecognizerSettings, find_pack
from app.workers.base import Recognizer
from app.workers.connect import load_recognizer, load_synthesizer

Hear = Callable[[Pcm16], Awaitable[str]]
"""PCM16 at HEARING_RATE to words."""
ROUND_SECONDS = 5.0  # at least, for a figure that one slow moment does not spoil
AIM_TIMES, AIM_POINTS = 10.0, 0.2


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance, and what is said in it."""

    pcm: Pcm16
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley bench recognizer`."""
    parser.add_argument("--pack", default="en-starter", help="whose recognizer [en-starter]")
    parser.add_argument(
        "--random-turbo",
        action="store_true",
        help="instead, random weights in the shape of whisper-large-v3-turbo: speed, not quality",
    )
    parser.add_argument("--packs", type=Path, default=REPOSITORY / "models" / "packs", help="folder of the packs")
    parser.add_argument("--clips", type=Path, help="folder of NAME.wav with NAME.txt [questions, synthesised]")
    parser.add_argument("--count", type=int, default=32, help="clips at most [32]")
    parser.add_argument("--callers", default="1,4,16", help="how many at once, one number after the other [1,4,16]")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda [auto]")
    parser.add_argument("--compute-type", default="default", help="int8, float16, float32 [as the weights are stored]")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the model [1]")


def run(args: argparse.Namespace) -> Report:
    """Benches. Raises BadRequest, PackError, WorkerError."""
    numbers = args.callers.split(",")
    if not all(number.isdecimal() and int(number) for number in numbers) or args.count < 1:
        raise BadRequest(f"got {args.callers} callers and {args.count} clips, expected numbers of at least 1")
    counts = [int(number) for number in numbers]
    if not args.random_turbo:
        return asyncio.run(_compare(find_pack(args.packs, args.pack), args, counts))
    from app.bench.random_whisper import TURBO, write_whisper

    with tempfile.TemporaryDirectory() as folder:
        write_whisper(Path(folder) / "recognizer", TURBO, quantization="float16")
        return asyncio.run(_compare(random_pack(Path(folder)), args, counts))


def random_pack(folder: Path) -> Pack:
    """A pack of a random model: every gate is open, since it is sure of nothing."""
    gates = RecognizerSettings(trained_short=True, no_speech_threshold=1.0, max_compression=math.inf)
    return Pack(folder, "random-turbo", "1", "en", recognizer=gates)


async def _compare(pack: Pack, args: argparse.Namespace, counts: Sequence[int]) -> Report:
    clips = _read(args.clips, args.count) if args.clips else await _synthesise(pack, args.count)
    options = {"device": args.device, "compute_type": args.compute_type, "threads": args.threads}
    alone = dataclasses.replace(pack.recognizer, second_opinion="")
    ours = load_recognizer(dataclasses.replace(pack, recognizer=alone), "whisper", **options)
    stock = StockWhisper(
        str(pack.recognizer_folder) if pack.recognizer_folder.exists() else pack.recognizer.path,
        beam_size=pack.recognizer.beam_size,
        language=pack.language.split("-")[0],
        **options,
    )
    engines: dict[str, Hear] = {"stock": stock.hear, "ours": hearing(ours)}
    if pack.recognizer.trained_short:
        padded = dataclasses.replace(alone, trained_short=False)
        engines["ours, padded"] = hearing(
            load_recognizer(dataclasses.replace(pack, recognizer=padded), "whisper", **options)
        )
    rows = [
        {"engine": name, "callers": count, **await measure(hear, clips, count, ROUND_SECONDS)}
        for count in counts
        for name, hear in engines.items()
    ]
    configuration: dict[str, Cell] = {
        "pack": pack.reference,
        **options,
        "device": str((await ours.health()).detail["device"]),
        "compute_type": str((await ours.health()).detail["compute_type"]),
        "beam_size": pack.recognizer.beam_size,
        "trained_short": str(pack.recognizer.trained_short),
        "clips": f"{len(clips)}, {args.clips.name if args.clips else speaker()}",
        "mean_clip_s": sum(seconds_of(clip.pcm, HEARING_RATE) for clip in clips) / len(clips),
    }
    notes = judge(rows)
    if args.random_turbo:
        notes.append("random weights: WER means nothing, and texts have 12 tokens whatever is said")
    return Report("recognizer", configuration, rows, notes, ("utterances_per_s", "latency_p95_ms", "wer_percent"))


async def measure(hear: Hear, clips: Sequence[Clip], callers: int, seconds: float) -> dict[str, Cell]:
    """The figures of one engine: every clip once, and again until `seconds` are over; words are counted once."""
    await hear(clips[0].pcm)  # the first call of a model is slower than all others
    latencies: list[float] = []
    heard: dict[int, str] = {}
    begun, cpu = time.perf_counter(), time.process_time()
    following = iter(range(1_000_000))

    async def caller() -> None:
        for number in following:
            if number >= len(clips) and time.perf_counter() - begun > seconds:
                return
            asked = time.perf_counter()
            text = await hear(clips[number % len(clips)].pcm)
            latencies.append(1000 * (time.perf_counter() - asked))
            heard.setdefault(number % len(clips), text)

    await asyncio.gather(*(caller() for _ in range(callers)))
    took = time.perf_counter() - begun
    errors = sum(word_errors(_words(clip.text), _words(heard[number])) for number, clip in enumerate(clips))
    return {
        "utterances_per_s": len(latencies) / took,
        "latency_p50_ms": float(np.percentile(latencies, 50)),
        "latency_p95_ms": float(np.percentile(latencies, 95)),
        "cpu_ms": 1000 * (time.process_time() - cpu) / len(latencies),
        "wer_percent": 100 * errors / max(1, sum(len(_words(clip.text)) for clip in clips)),
        "utterances": len(latencies),
    }


def judge(rows: Sequence[dict[str, Cell]]) -> list[str]:
    """What the rows say of the aims, at the largest number of callers."""
    most = max(int(row["callers"]) for row in rows)
    last = {str(row["engine"]): row for row in rows if row["callers"] == most}
    notes = []
    for name in [name for name in last if name != "stock"]:
        times = float(last[name]["utterances_per_s"]) / float(last["stock"]["utterances_per_s"])
        points = float(last[name]["wer_percent"]) - float(last["stock"]["wer_percent"])
        note = f"{name} against stock, {most} callers: {times:.1f} times the utterances, WER {points:+.1f} points"
        if name == "ours":
            met = "met" if times >= AIM_TIMES and points <= AIM_POINTS else "missed"
            note += f" (aim: {AIM_TIMES:.0f} times and at most {AIM_POINTS:+.1f} points where trained short: {met})"
        notes.append(note)
    notes.append("stock: faster-whisper one request at a time, 30 s windows, the same beam, no timestamps, no retries")
    notes.append("cpu_ms: processor time of this whole process, an utterance")
    return notes


def hearing(recognizer: Recognizer) -> Hear:
    """One utterance after the other, as a session opens, feeds and finishes them."""

    async def hear(pcm: Pcm16) -> str:
        recognition = await recognizer.start()
        recognition.feed(pcm)
        return (await recognition.finish()).text

    return hear


def _read(folder: Path, count: int) -> list[Clip]:
    """Raises BadRequest, BadAudio."""
    paths = [path for path in sorted(folder.glob("*.wav")) if path.with_suffix(".txt").is_file()][:count]
    if not paths:
        raise BadRequest(f"{folder} has no NAME.wav with its NAME.txt")
    return [
        Clip(to_pcm16(decode_to(path.read_bytes(), HEARING_RATE)), path.with_suffix(".txt").read_text(encoding="utf-8"))
        for path in paths
    ]


async def _synthesise(pack: Pack, count: int) -> list[Clip]:
    """The questions of `parley bench talk`, by flite or by the pack's own voice."""
    texts = [question for question, _ in QUESTIONS[:count]]
    if speaker().startswith("flite"):
        audio = [await spoken(text, number, "") for number, text in enumerate(texts)]
    else:
        voice = load_synthesizer(pack)
        audio = [b"".join([chunk.pcm async for chunk in voice.speak(text)]) for text in texts]
    pcms = [to_pcm16(resample(to_waveform(pcm), REALTIME_RATE, HEARING_RATE)) for pcm in audio]
    return [Clip(pcm, text) for pcm, text in zip(pcms, texts, strict=True)]


def _words(text: str) -> list[str]:
    """Lower case, no punctuation: models differ in both, and neither is an error of hearing."""
    return re.sub(r"[^\w\s']", " ", text.lower()).split()
