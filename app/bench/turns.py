"""`parley bench turns`: how often the service is right about whose turn it is, on recordings with known timing.

Ends of turns: `semantic_vad` against plain silence, on clips that nothing was tuned with. Decisions are made frame by
frame as in a session, from the same speech probabilities, but as fast as the machine can: time is audio heard.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from app import REPOSITORY, endings
from app.audio import (
    BYTES_PER_SAMPLE,
    FRAME_SAMPLES,
    FRAME_SECONDS,
    HEARING_RATE,
    Pcm16,
    resample,
    to_pcm16,
    to_waveform,
)
from app.bench import back_channels
from app.bench.back_channels import COMMANDS, SAID_LISTENING, synthetic
from app.bench.questions import QUESTIONS
from app.bench.report import Cell, Report
from app.bench.turn_recordings import Clip, Recording, clips, compose
from app.end_of_turn import EndOfTurn
from app.endings import Endings
from app.errors import BadRequest
from app.packs import Pack, RecognizerSettings, find_pack
from app.turn import Endpointer, SpeechStopped
from app.vad import SharedVad, SpeechProbability
from app.workers.base import Recognizer
from app.workers.connect import load_recognizer, load_synthesizer

TURNS = 240
SHORTEST_SECONDS = 1.2  # of a clip: shorter ones are single words, which nobody pauses in
PEOPLE = 100  # clips of each kind over a reply
TUNED = ("kathleen", "kerstin")  # whose other clips the weights were made of
STEP_FRAMES = 6  # between two hypotheses, 0.19 s, as often as the recognizers give them
LATE_SECONDS = 0.1  # after the audio, until its hypothesis is there
SILENCES = np.arange(0.1, 2.0, FRAME_SECONDS)
DRAWN = ("right_percent", "silence_right_percent", "delay_p50_ms", "silence_delay_p50_ms", "delay_p95_ms")


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording as a session hears it."""

    recording: Recording
    frames: Sequence[Pcm16]
    probabilities: Sequence[float]
    """Of speech, one a frame."""
    texts: Sequence[tuple[int, str]]
    """Hypotheses, and the frame with which each comes; empty where no recognizer listens."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley bench turns`."""
    parser.add_argument("--data", type=Path, default=os.environ.get("PARLEY_DATA"), help="recordings [PARLEY_DATA]")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"recordings of people [{TURNS}]")
    parser.add_argument("--seed", type=int, default=0, help="of pauses and gaps [0]")
    parser.add_argument("--pack", default="en-starter", help="whose recognizer, voice and list of endings [en-starter]")
    parser.add_argument("--packs", type=Path, default=REPOSITORY / "models" / "packs", help="folder of the packs")


def run(args: argparse.Namespace) -> Report:
    """Benches. Raises BadRequest, PackError."""
    if args.data is None or args.turns < 2:
        raise BadRequest(f"got recordings {args.data} and {args.turns} turns, expected --data or PARLEY_DATA, and 2")
    return asyncio.run(_bench(find_pack(args.packs, args.pack), args))


async def _bench(pack: Pack, args: argparse.Namespace) -> Report:
    rows = []
    for name, known in (("people it was tuned on, other texts", True), ("other people", False)):
        spoken = list(islice(kept_out(args.data, known=known), args.turns))
        rows += compare(name, [await hear(recording) for recording in compose(spoken, args.seed)], None)
    words = endings.read(pack.endings_file) if pack.endings_file is not None else None
    recognizer = load_recognizer(dataclasses.replace(pack, recognizer=alone(pack)), "whisper")
    asked = [await hear(recording, recognizer) for recording in compose(await questions(pack, args.seed), args.seed)]
    rows += compare("questions, by voice alone", asked, None)
    rows += compare("questions, and by words", asked, words)
    rows += await over_a_reply(pack, args.data, recognizer)
    configuration: dict[str, Cell] = {"pack": pack.reference, "seed": args.seed}
    notes = [
        "cut off: the turn was taken for ended before its last word; missed: not until the next one began",
        "silence: the same figures of the plain silence whose median delay is nearest",
        "over a reply: paused and delay are from the first sound, in audio heard, without the recognizer's own time;"
        " added: delay over the pause, at which a service without back-channels would have ended the reply",
    ]
    return Report("turns", configuration, rows, notes, DRAWN)


async def over_a_reply(pack: Pack, data: Path, recognizer: Recognizer) -> list[dict[str, Cell]]:
    """Back-channels and interruptions, told from one another."""
    listed = pack.turn.back_channels
    people = [clip.waveform for clip in islice(kept_out(data, known=True), PEOPLE)]
    short = clips(data, lambda row: row.get("subset") == "digits_en" and row["split"] == "test")
    digits = [clip.waveform for clip in short[:: max(1, len(short) // PEOPLE)]]
    rows = []
    for name, sounds, hears, interrupts in (
        ("what listeners say, synthetic", await synthetic(SAID_LISTENING), recognizer, False),
        ("short words, people, by duration alone", digits, None, False),
        ("commands, synthetic", await synthetic(COMMANDS), recognizer, True),
        ("sentences, people", people, recognizer, True),
    ):
        judged = [await back_channels.judge(sound, listed, hears, seed) for seed, sound in enumerate(sounds)]
        rows.append(back_channels.row(name, judged, interrupts))
    return rows


def alone(pack: Pack) -> RecognizerSettings:
    """The pack's recognizer without its second opinion, whose words come at their own time."""
    return dataclasses.replace(pack.recognizer, second_opinion="")


async def questions(pack: Pack, seed: int) -> list[Clip]:
    """The questions of `parley bench talk` by the pack's own voice, whose marks say where words end."""
    voice = load_synthesizer(pack)
    chance = random.Random(seed)
    spoken = []
    for text, _ in QUESTIONS:
        pieces, ends, samples = [], [], 0
        async for chunk in voice.speak(text):
            ends += [samples + sample for character, sample in chunk.marks if character < len(text)]
            pieces.append(chunk.pcm)
            samples += len(chunk.pcm) // BYTES_PER_SAMPLE
        waveform = resample(to_waveform(b"".join(pieces)), chunk.sample_rate, HEARING_RATE)
        part_at = chance.choice(ends) * HEARING_RATE // chunk.sample_rate if ends else None
        spoken.append(Clip(waveform, text, pack.language, "the pack's own", part_at))
    return spoken


def kept_out(data: Path, *, known: bool) -> Iterable[Clip]:
    """Clips that no weight was made of: other texts of the voices that were used, or voices that were not."""

    def wanted(row: dict[str, Any]) -> bool:
        sentence = row.get("subset", "voices") in ("voices", "sentences_gd", "sentences_fr", "sentences_multi")
        tuned = row["speaker"] in TUNED
        split = row.get("split") in ("dev", "test") if known else True
        return sentence and tuned == known and split and row["duration_s"] >= SHORTEST_SECONDS

    return clips(data, wanted)


async def hear(recording: Recording, recognizer: Recognizer | None = None) -> Heard:
    """Frames, speech probabilities and hypotheses of a recording."""
    pcm = to_pcm16(recording.waveform)
    size = FRAME_SAMPLES * BYTES_PER_SAMPLE
    frames = [pcm[start : start + size] for start in range(0, len(pcm) - size + 1, size)]
    probability = SpeechProbability(SharedVad())
    probabilities = [await probability(frame) for frame in frames]
    texts = []
    if recognizer is not None:
        for count in range(STEP_FRAMES, len(frames), STEP_FRAMES):
            if max(probabilities[max(0, count - 3 * STEP_FRAMES) : count]) < 0.5:
                continue  # nothing new was said
            recognition = await recognizer.start()
            recognition.feed(b"".join(frames[:count]))
            texts.append((count + round(LATE_SECONDS / FRAME_SECONDS), (await recognition.finish()).text))
    return Heard(recording, frames, probabilities, texts)


def decisions(heard: Heard, *, silence: float = 0.0, eagerness: str = "", words: Endings | None = None) -> list[float]:
    """When turns were taken for ended, in seconds heard: after plain `silence`, or by `semantic_vad`."""
    endpointer = Endpointer(threshold=0.5, prefix_padding_seconds=0.3, silence_seconds=silence or SILENCES[-1])
    texts = dict(heard.texts)
    found = []
    ending = EndOfTurn(eagerness, words) if eagerness else None
    for number, (frame, probability) in enumerate(zip(heard.frames, heard.probabilities, strict=True)):
        if isinstance(endpointer.feed(FRAME_SECONDS, probability), SpeechStopped):
            found.append(endpointer.heard_seconds)
            ending = EndOfTurn(eagerness, words) if eagerness else None
        if ending is not None:
            ending.feed(frame)
            if number in texts:
                ending.hears(texts[number])
            endpointer.silence_seconds = ending.silence_needed(endpointer.silent_seconds)
    return found


def compare(name: str, heard: Sequence[Heard], words: Endings | None) -> list[dict[str, Cell]]:
    """A row for each eagerness, with the plain silence of the same median delay beside it."""
    plain = [judge(heard, partial(decisions, silence=silence)) for silence in SILENCES.tolist()]
    rows: list[dict[str, Cell]] = []
    for eagerness in ("high", "medium", "low"):
        figures = judge(heard, partial(decisions, eagerness=eagerness, words=words))
        nearest = min(
            range(len(plain)), key=lambda n: abs(float(plain[n]["delay_p50_ms"]) - float(figures["delay_p50_ms"]))
        )
        beside = {f"silence_{key}": plain[nearest][key] for key in ("right_percent", "cut_off_percent", "delay_p50_ms")}
        turns = f"{name} ({figures['turns']})"
        rows.append({"turns_of": turns, "decision": f"semantic_vad {eagerness}", **figures, **beside})
    return rows


def judge(heard: Sequence[Heard], decide: Callable[[Heard], list[float]]) -> dict[str, Cell]:
    """How the decisions compare with the truth."""
    cut = missed = 0
    delays = []
    turns = [(one, turn) for one in heard for turn in one.recording.turns]
    found = {id(one): decide(one) for one in heard}
    for one, (start, end, following) in turns:
        cut += any(start < moment < end for moment in found[id(one)])
        after = [moment - end for moment in found[id(one)] if end <= moment < following]
        missed += not after
        delays += after[:1]
    right = sum(
        not any(start < moment < end for moment in found[id(one)])
        and any(end <= moment < following for moment in found[id(one)])
        for one, (start, end, following) in turns
    )
    return {
        "turns": len(turns),
        "right_percent": 100 * right / len(turns),
        "cut_off_percent": 100 * cut / len(turns),
        "missed_percent": 100 * missed / len(turns),
        "delay_p50_ms": 1000 * float(np.percentile(delays, 50)) if delays else float("nan"),
        "delay_p95_ms": 1000 * float(np.percentile(delays, 95)) if delays else float("nan"),
    }
