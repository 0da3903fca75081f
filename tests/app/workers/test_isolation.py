"""No caller ever hears another's speech: many streams of the shipped voice at once, compared and recognised."""

from __future__ import annotations

import asyncio
import re

import pytest

from app.audio import HEARING_RATE, Pcm16, resample, to_pcm16, to_waveform
from app.workers.base import Recognizer, Synthesizer
from app.workers.connect import load_judge
from app.workers.voice import OnnxVoice
from tests.packs import starter

TEXTS = (
    "The lights in the kitchen are on.",
    "Your timer for twenty minutes has started.",
    "Good morning, my name is Anna.",
    "It is raining in London today.",
    "Seven plus eleven equals eighteen.",
    "Once upon a time there was a brave little dog.",
    "Please close the door of the garage.",
    "We can count together: one, two, three, four.",
)
"""One a caller."""


@pytest.fixture(scope="module")
def voice() -> OnnxVoice:
    return OnnxVoice(starter().voice_folder, model="en-starter", threads=4)


async def stream(voice: Synthesizer, text: str) -> list[Pcm16]:
    return [chunk.pcm async for chunk in voice.speak(text)]


async def test_each_stream_is_the_one_that_the_text_has_alone(voice: OnnxVoice) -> None:
    alone = [await stream(voice, text) for text in TEXTS]
    together = await asyncio.gather(*(stream(voice, text) for text in TEXTS))
    assert min(map(len, alone)) > 2  # each stream had moments in which another could slip in
    assert together == alone  # to the bit
    assert len({b"".join(pcm) for pcm in alone}) == len(TEXTS)


async def test_a_caller_who_leaves_changes_nothing_for_the_others(voice: OnnxVoice) -> None:
    async def leave(text: str) -> None:
        chunks = voice.speak(text)
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]

    alone = [await stream(voice, text) for text in TEXTS[:4]]
    stayed = [stream(voice, text) for text in TEXTS[:4]]
    *together, _, _, _, _ = await asyncio.gather(*stayed, *(leave(text) for text in TEXTS[4:]))
    assert together == alone


async def test_nobody_hears_a_word_of_another(voice: OnnxVoice) -> None:
    together = await asyncio.gather(*(stream(voice, text) for text in TEXTS))
    judge = load_judge()
    words = [set(re.findall(r"\w+", text.lower())) for text in TEXTS]
    for own, pieces in zip(words, together, strict=True):
        heard = set((await hear(judge, b"".join(pieces), voice.sample_rate)).split())
        foreign = set().union(*words) - own
        assert heard & own
        assert not heard & foreign


async def hear(judge: Recognizer, pcm: Pcm16, rate: int) -> str:
    recognition = await judge.start(language="en")
    recognition.feed(to_pcm16(resample(to_waveform(pcm), rate, HEARING_RATE)))
    return (await recognition.finish()).text
