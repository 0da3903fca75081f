"""The second half of `parley bench turns`: what callers say over a reply, told as back-channel or interruption.

Back-channels and short commands are synthetic voices', of another synthesizer than those by which the rule was made;
sentences and short words are people's. Nothing but the caller is heard: echo is the client's to cancel.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.audio import BYTES_PER_SAMPLE, FRAME_SAMPLES, FRAME_SECONDS, HEARING_RATE, Pcm16, Waveform, to_pcm16
from app.back_channel import BackChannel, Verdict
from app.bench.report import Cell
from app.bench.turn_recordings import LEAD_SECONDS, NOISE, spoken_part
from app.errors import BadRequest
from app.media import decode_to
from app.turn import Endpointer, SpeechStarted
from app.vad import SharedVad, SpeechProbability
from app.workers.base import Recognizer

SAID_LISTENING = (
    "mm-hmm", "uh-huh", "hmm", "yeah", "yes", "yep", "okay", "right", "sure", "I see", "oh", "aha", "really", "great",
)  # fmt: skip
COMMANDS = ("stop", "wait", "no", "cancel", "hold on", "stop it", "be quiet", "what", "never mind", "enough")
VOICES = ("en-us", "en-us+f2", "en-us+f3", "en-gb", "en-gb-scotland+m3", "en-us+m4")
"""Of eSpeak NG."""
STEP_SECONDS = 0.2  # of new audio between two hypotheses
PADDING_SECONDS = 0.3  # heard from before the speech, as sessions do
AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Judged:
    """What was made of one sound over a reply."""

    interrupts: bool
    noticed_seconds: float | None
    """After its start, when sending paused; None: nothing was noticed."""
    decided_seconds: float | None
    """After its start, in audio heard: the recognizer's time for the last words comes on top."""


async def synthetic(texts: Sequence[str]) -> list[Waveform]:
    """Each text in each of VOICES. Raises BadRequest where the program is missing."""
    if shutil.which("espeak-ng") is None:
        raise BadRequest("this bench needs the program espeak-ng (Debian package espeak-ng)")
    spoken = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        for voice in VOICES:
            for text in texts:
                command = ["espeak-ng", "-v", voice, "-w", str(path), text]
                await asyncio.to_thread(subprocess.run, command, check=True)
                spoken.append(spoken_part(decode_to(path.read_bytes(), HEARING_RATE)))
    return spoken


async def judge(sound: Waveform, listed: Collection[str], recognizer: Recognizer | None, seed: int = 0) -> Judged:
    """As a session would; without a recognizer, by duration alone: words are then never sure."""
    after = [np.zeros(round(seconds * HEARING_RATE)) for seconds in (LEAD_SECONDS, AFTER_SECONDS)]
    waveform = np.concatenate([after[0], sound, after[1]])
    waveform = waveform + np.random.default_rng(seed).standard_normal(len(waveform)) * NOISE
    pcm, size = to_pcm16(waveform.astype(np.float32)), FRAME_SAMPLES * BYTES_PER_SAMPLE
    probability = SpeechProbability(SharedVad())
    endpointer = Endpointer(threshold=0.5, prefix_padding_seconds=PADDING_SECONDS, silence_seconds=0.5)
    doubt, noticed, text, heard_until = None, None, "", 0.0
    for start in range(0, len(pcm) - size + 1, size):
        happened = endpointer.feed(FRAME_SECONDS, await probability(pcm[start : start + size]))
        now = endpointer.heard_seconds
        if isinstance(happened, SpeechStarted):
            doubt = BackChannel(listed, happened.start_seconds, [])
            noticed, heard_until = now - LEAD_SECONDS, happened.start_seconds
            continue
        if doubt is None:
            continue
        verdict = doubt.feed(b"", endpointer.silent_seconds, text)
        since = pcm[round(doubt.start_seconds * HEARING_RATE) * BYTES_PER_SAMPLE : start + size]
        if recognizer is not None and verdict is Verdict.OPEN and now - heard_until >= STEP_SECONDS:
            text, heard_until = (await _words(recognizer, since))[0], now
        if verdict is Verdict.ENDED:
            words = ("", 0.0) if recognizer is None else await _words(recognizer, since)
            return Judged(doubt.takes_floor(*words), noticed, now - LEAD_SECONDS)
        if verdict is not Verdict.OPEN:
            return Judged(verdict is Verdict.TAKES_FLOOR, noticed, now - LEAD_SECONDS)
    return Judged(False, noticed, None)


async def _words(recognizer: Recognizer, audio: Pcm16) -> tuple[str, float]:
    recognition = await recognizer.start()
    recognition.feed(audio)
    heard = await recognition.finish()
    return heard.text, heard.confidence


def row(name: str, judged: Sequence[Judged], interrupts: bool) -> dict[str, Cell]:
    """The figures of one kind of sound; `interrupts`: what they should have been taken for."""
    decided = [one.decided_seconds for one in judged if one.decided_seconds is not None]
    noticed = [one.noticed_seconds for one in judged if one.noticed_seconds is not None]
    figures: dict[str, Cell] = {
        "turns_of": f"over a reply: {name} ({len(judged)})",
        "decision": "interruption" if interrupts else "back-channel",
        "turns": len(judged),
        "right_percent": 100 * sum(one.interrupts == interrupts for one in judged) / len(judged),
    }
    if decided:
        median = 1000 * float(np.percentile(decided, 50))
        figures["paused_p95_ms"] = 1000 * float(np.percentile(noticed, 95))
        figures["delay_p50_ms"] = median
        figures["delay_p95_ms"] = 1000 * float(np.percentile(decided, 95))
        figures["added_p50_ms"] = median - 1000 * float(np.percentile(noticed, 50))
    return figures
