"""What a recognizer hears in each clip and how fast, kept clip by clip. Knows stages only by their Protocols."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from app.audio import FRAME_SAMPLES, HEARING_RATE, Pcm16, seconds_of
from app.errors import BadRequest, WorkerBusy
from app.workers.base import Recognition, Recognizer
from finetune.data.kept import Kept
from finetune.evaluate.cases import Clip
from finetune.evaluate.identity import key

FRAME_BYTES = 2 * FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Heard:
    """One clip, as the recognizer has it."""

    text: str
    seconds: float
    """Of audio."""
    finish_ms: float | None
    """From the end of the audio to the transcript; the audio was fed at once, so this is all of the work. None: the
    recognizer does not hear this language, so the text is empty."""
    slices: Mapping[str, str]


async def hear(recognizer: Recognizer, clips: Sequence[Clip], kept: Kept, stage: str, name: str) -> list[Heard]:
    """A transcript a clip. `stage`: hash of the recognizer; `name` stands at the progress bar.

    A language that the recognizer refuses is heard as nothing. Raises BadAudio.
    """
    heard = []
    for clip in tqdm(clips, desc=f"{name} hears", unit=" clips", disable=None):
        pcm, sound, slices = await asyncio.to_thread(clip.read)
        known = key("heard", stage, sound, clip.row.language)
        found = kept.get(known)
        if found is None:
            found = {"text": "", "seconds": seconds_of(pcm, HEARING_RATE), "finish_ms": None}
            with contextlib.suppress(BadRequest):  # of a language that it was not made for
                text, took = await transcript(recognizer, pcm, clip.row.language)
                found |= {"text": text, "finish_ms": 1000 * took}
            kept.put(known, found)
        heard.append(Heard(**found, slices=slices))
    return heard


async def transcript(recognizer: Recognizer, pcm: Pcm16, language: str) -> tuple[str, float]:
    """The text, and seconds of the wall clock that it took. Raises BadRequest for a language."""
    recognition = await _started(recognizer, language)
    began = time.perf_counter()
    for start in range(0, len(pcm), FRAME_BYTES):
        recognition.feed(pcm[start : start + FRAME_BYTES])
    return (await recognition.finish()).text, time.perf_counter() - began


async def _started(recognizer: Recognizer, language: str) -> Recognition:
    while True:
        try:
            return await recognizer.start(language=language)
        except WorkerBusy:  # the utterance before is still being put away
            await asyncio.sleep(0.05)
