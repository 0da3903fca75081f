"""How well a judge understands a voice, how soon it begins, and the whole cascade from a clip to first audio.

`judge.py` says who may judge; where nobody may, intelligibility is not measured, and that is said.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from tqdm import tqdm

from app.answer import Answer, write
from app.audio import HEARING_RATE, Waveform, resample, to_pcm16, to_waveform
from app.packs import Pack
from app.reply import clauses, speak
from app.tools import Toolbox, schemas
from app.workers.base import ChatRequest, LanguageModel, Recognizer, Synthesizer
from finetune.data.kept import Kept
from finetune.evaluate.identity import key
from finetune.evaluate.judge import Judge
from finetune.evaluate.listening import transcript
from finetune.evaluate.normal import base_language


@dataclass(frozen=True, slots=True)
class Spoken:
    """One text, spoken."""

    text: str
    heard: str | None
    """By the judge; None without one."""
    first_ms: float
    """Until the first piece of audio."""
    seconds: float
    """Of audio."""
    work_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One clip through the whole cascade."""

    reply: str
    first_ms: float | None
    """From the transcript to the reply's first audio; None: no audio came."""


async def say(
    voice: Synthesizer, pack: Pack, texts: Sequence[str], kept: Kept, stage: str, judge: Judge | None
) -> list[Spoken]:
    """Speaks each text, and has the judge listen where there is one."""
    listening: Recognizer | None = None
    spoken = []
    for text in tqdm(texts, desc=f"{pack.reference} speaks", unit=" texts", disable=None):
        known = key("spoken", stage, text, judge.identity if judge else "")
        found = kept.get(known)
        if found is None:
            waveform, rate, first, whole = await speech(voice, text)
            heard = None
            if judge:
                listening = listening or judge.load()  # only where something is to be heard
                pcm = to_pcm16(resample(waveform, rate, HEARING_RATE))
                heard, _ = await transcript(listening, pcm, base_language(pack.language))
            found = {"heard": heard, "first_ms": 1000 * first, "seconds": len(waveform) / rate, "work_s": whole}
            kept.put(known, found)
        spoken.append(Spoken(text=text, **found))
    close(listening)
    return spoken


def close(engine: object) -> None:
    """Frees an engine's threads and processes, where it has any."""
    if (closing := getattr(engine, "close", None)) is not None:
        closing()


async def speech(voice: Synthesizer, text: str) -> tuple[Waveform, int, float, float]:
    """Samples, their rate in Hertz, and seconds of the wall clock until the first of them and in all."""
    began = time.perf_counter()
    first, rate, pcm = 0.0, HEARING_RATE, b""
    async for chunk in voice.speak(text):
        first = first or time.perf_counter() - began
        rate, pcm = chunk.sample_rate, pcm + chunk.pcm
    return to_waveform(pcm), rate, first, time.perf_counter() - began


async def answer(
    model: LanguageModel, voice: Synthesizer, pack: Pack, heard: Sequence[str], kept: Kept, stages: str
) -> list[Turn]:
    """The service's reply to each transcript as the first turn of a session, and when its audio begins."""
    turns = []
    for text in tqdm(heard, desc=f"{pack.reference} answers", unit=" turns", disable=None):
        known = key("answered", stages, text)
        found = kept.get(known)
        if found is None:
            found = await _answer(model, voice, pack, text)
            kept.put(known, found)
        turns.append(Turn(**found))
    return turns


async def _answer(model: LanguageModel, voice: Synthesizer, pack: Pack, heard: str) -> dict[str, object]:
    if not heard:  # a session does not answer silence
        return {"reply": "", "first_ms": None}
    settings = pack.language_model
    prompt = [{"role": "system", "content": settings.prompt}] if settings.prompt else []
    request = ChatRequest([*prompt, {"role": "user", "content": heard}], tools=schemas(settings.tools), temperature=0.0)
    written: list[str] = []
    began = time.perf_counter()

    async def deltas() -> AsyncIterator[str]:
        tools = Toolbox(settings.tools, lambda: datetime.now(UTC))
        async with aclosing(write(model, request, tools, settings.tools, Answer())) as parts:
            async for part in parts:
                written.append(part)
                yield part

    cut = clauses(deltas(), first_min=pack.clauses.first_min, least=pack.clauses.min, most=pack.clauses.max)
    first_ms = None
    async with aclosing(speak(cut, voice)) as pieces:
        async for piece in pieces:
            if piece.pcm and first_ms is None:
                first_ms = 1000 * (time.perf_counter() - began)
    return {"reply": "".join(written), "first_ms": first_ms}
