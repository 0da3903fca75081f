"""The ear: the same frames however the audio is cut, each as soon as it is whole."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from app.audio import FRAME_SAMPLES, HEARING_RATE, REALTIME_RATE, Pcm16, Resampler, to_pcm16
from app.hearing import FRAME_BYTES, Hearing
from app.session_config import ServerVad
from app.vad import SharedVad
from tests.sounds import noise, silence


def speechlike(seconds: float) -> Pcm16:
    """Something other than silence."""
    return to_pcm16(noise(seconds, 0.1, REALTIME_RATE))


@pytest.mark.parametrize("samples", [1, 7, 480, 768, 960, 5000, 48_000])
async def test_frames_do_not_depend_on_how_the_audio_is_cut(samples: int) -> None:
    pcm = speechlike(1.0)
    whole = await heard(pcm, len(pcm))
    cut = await heard(pcm, 2 * samples)
    assert len(cut) == len(whole) == 31 * FRAME_SAMPLES
    assert np.abs(cut - whole).max() <= 2  # soxr dithers its 16-bit output, anew in every call
    assert np.abs(whole).mean() > 1000


async def heard(pcm: Pcm16, chunk_bytes: int) -> NDArray[np.int32]:
    """All samples of the frames that are made of the audio, cut into chunks."""
    ear = Hearing(None, SharedVad())
    chunks = [pcm[start : start + chunk_bytes] for start in range(0, len(pcm), chunk_bytes)]
    frames = [frame for chunk in chunks async for frame, _ in ear.feed(chunk)]
    return np.frombuffer(b"".join(frames), "<i2").astype(np.int32)


@pytest.mark.parametrize("samples", [160, 480, 960])
async def test_a_frame_is_given_out_with_the_bytes_that_complete_it(samples: int) -> None:
    resampler, ear = Resampler(REALTIME_RATE, HEARING_RATE), Hearing(None, SharedVad())
    pcm = speechlike(1.0)
    ready = given = 0
    for start in range(0, REALTIME_RATE * 2, samples * 2):
        chunk = pcm[start : start + samples * 2]
        ready += len(resampler.feed(chunk))
        given += len([frame async for frame in ear.feed(chunk)])
        assert given == ready // FRAME_BYTES


@pytest.mark.parametrize("detection", [None, ServerVad()])
async def test_a_long_event_is_heard_step_by_step(detection: ServerVad | None) -> None:
    ear = Hearing(detection, SharedVad())
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await asyncio.sleep(0)
            others += 1

    beside = asyncio.create_task(other())
    frames = ear.feed(silence(60.0))
    for _ in range(10):
        await anext(frames)
    assert ear.heard_seconds == pytest.approx(0.32)  # the rest waits until it is asked for
    assert others >= 9  # whoever else has something to do
    beside.cancel()
