"""What every synthesizer must do, whatever its engine: each case takes one that carries two replies at most."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from app.access import Access
from app.audio import Pcm16, to_waveform
from app.errors import BadRequest, UnknownModel, WorkerBusy
from app.reply import close
from app.workers.base import SpeechChunk, Synthesizer
from app.workers.connect import reach_synthesizer
from app.workers.server import synthesizer_app
from tests.serving import serving

TEXT = "Hello there, how are you today?"


async def chunks_of(synthesizer: Synthesizer, text: str, *, voice: str = "", speed: float = 1.0) -> list[SpeechChunk]:
    return [chunk async for chunk in synthesizer.speak(text, voice=voice, speed=speed)]


async def pcm_of(synthesizer: Synthesizer, text: str, *, voice: str = "", speed: float = 1.0) -> Pcm16:
    return b"".join(chunk.pcm for chunk in await chunks_of(synthesizer, text, voice=voice, speed=speed))


async def case_spans_and_marks_cover_the_text(synthesizer: Synthesizer) -> None:
    chunks = await chunks_of(synthesizer, TEXT)
    rate = (await synthesizer.health()).detail["sample_rate"]
    spans = [chunk.text_span for chunk in chunks]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(TEXT)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
    assert all(chunk.sample_rate == rate and chunk.marks_are_estimated for chunk in chunks)
    assert all(0 <= sample <= len(chunk.pcm) // 2 for chunk in chunks for _, sample in chunk.marks)
    ends = [character for chunk in chunks for character, _ in chunk.marks]
    assert ends == [5, 12, 16, 20, 24, 31]  # one a word
    assert sum(len(chunk.pcm) for chunk in chunks) > 0


async def case_nothing_to_say_yields_nothing(synthesizer: Synthesizer) -> None:
    for text in ("", "  ", "\n"):
        assert await chunks_of(synthesizer, text) == []


async def case_unknown_voice_and_odd_speed_are_refused(synthesizer: Synthesizer) -> None:
    with pytest.raises(UnknownModel, match="no voice 'nobody'"):
        await anext(synthesizer.speak(TEXT, voice="nobody"))
    with pytest.raises(BadRequest, match=r"speed 9\.0"):
        await anext(synthesizer.speak(TEXT, speed=9.0))


async def case_full_is_said_and_closing_frees(synthesizer: Synthesizer) -> None:
    first, second, third = synthesizer.speak(TEXT), synthesizer.speak(TEXT), synthesizer.speak(TEXT)
    await anext(first)
    await anext(second)
    with pytest.raises(WorkerBusy, match="all 2 replies"):
        await anext(third)
    await close(first)
    assert (await synthesizer.health()).detail["replies"] == 1
    await close(second)
    assert (await synthesizer.health()).detail["replies"] == 0
    assert await chunks_of(synthesizer, "Yes.")


async def case_the_wire_carries_the_same_speech(synthesizer: Synthesizer) -> None:
    async with serving(synthesizer_app(synthesizer, access=Access(), model="tiny")) as url:
        remote = reach_synthesizer(url)
        assert await chunks_of(remote, TEXT) == await chunks_of(synthesizer, TEXT)
        with pytest.raises(UnknownModel, match="no voice 'nobody'"):
            await anext(remote.speak(TEXT, voice="nobody"))
        health = await remote.health()
    assert health.stage == "synthesizer"


async def case_each_stream_is_the_one_that_the_text_has_alone(
    synthesizer: Synthesizer, texts: Sequence[str], tolerance: float
) -> float:
    """Gives the greatest difference of a sample, of full scale 1."""
    alone = [to_waveform(await pcm_of(synthesizer, text)) for text in texts]
    together = await asyncio.gather(*(pcm_of(synthesizer, text) for text in texts))
    assert len({waveform.tobytes() for waveform in alone}) == len(texts)
    assert min(float(np.abs(waveform).max()) for waveform in alone) > 0.001  # there is something to compare
    greatest = 0.0
    for waveform, pcm in zip(alone, together, strict=True):
        assert len(pcm) == 2 * len(waveform)
        greatest = max(greatest, float(np.abs(waveform - to_waveform(pcm)).max()))
    assert greatest <= tolerance
    return greatest


CASES = (
    case_spans_and_marks_cover_the_text,
    case_nothing_to_say_yields_nothing,
    case_unknown_voice_and_odd_speed_are_refused,
    case_full_is_said_and_closing_frees,
    case_the_wire_carries_the_same_speech,
)
