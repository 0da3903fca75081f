"""Speech probabilities: those of Silero's own file, whoever shares a call; and a light way to that file."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from app.audio import FRAME_SAMPLES, HEARING_RATE, Pcm16, to_pcm16, to_waveform
from app.vad import CONTEXT_SAMPLES, SharedVad, SpeechProbability, silero
from tests.sounds import flite, noise, silence

FRAME_BYTES = 2 * FRAME_SAMPLES
NAMES = ("question", "story", "sentence", "noise", "hum", "silence")


@functools.cache
def recording(name: str) -> Pcm16:
    """What a caller says."""
    match name:
        case "question":
            return flite("what time is it", rate=HEARING_RATE)
        case "story":
            return flite("tell me a story about a fox", voice="awb", rate=HEARING_RATE)
        case "sentence":
            return flite("turn on the light in the kitchen", voice="kal16", rate=HEARING_RATE)
        case "noise":
            return to_pcm16(noise(2.0, 0.1, HEARING_RATE))
        case "hum":
            return to_pcm16(noise(1.0, 0.003, HEARING_RATE))
        case _:
            return silence(1.5, HEARING_RATE)


def frames(pcm: Pcm16) -> list[Pcm16]:
    """Whole frames of a recording."""
    return [pcm[start : start + FRAME_BYTES] for start in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES)]


def by_the_file(pcm: Pcm16) -> list[float]:
    """What faster-whisper's file, as it is, says of each frame."""
    session = onnxruntime.InferenceSession(silero(), providers=["CPUExecutionProvider"])
    h = c = np.zeros((1, 1, 128), np.float32)
    before = np.zeros(CONTEXT_SAMPLES, np.float32)
    probabilities = []
    for frame in frames(pcm):
        window = np.concatenate([before, to_waveform(frame)])
        probability, h, c = session.run(None, {"input": window[None], "h": h, "c": c})
        before = window[-CONTEXT_SAMPLES:]
        probabilities.append(float(probability.item()))
    return probabilities


async def listen(shared: SharedVad, pcm: Pcm16) -> list[float]:
    """What a caller of several hears of each frame."""
    caller = SpeechProbability(shared)
    return [await caller(frame) for frame in frames(pcm)]


@pytest.mark.parametrize("together", [False, True])
async def test_every_caller_gets_the_probabilities_of_silero_s_own_file(together: bool) -> None:
    shared = SharedVad()
    if together:
        heard = await asyncio.gather(*[listen(shared, recording(name)) for name in NAMES])
    else:
        heard = [await listen(shared, recording(name)) for name in NAMES]
    for name, probabilities in zip(NAMES, heard, strict=True):
        np.testing.assert_allclose(probabilities, by_the_file(recording(name)), atol=1e-5, err_msg=name)
    assert max(heard[0]) > 0.9
    assert max(heard[5]) < 0.1


async def test_a_caller_who_hangs_up_takes_nobody_along() -> None:
    shared = SharedVad()
    leaving = asyncio.create_task(listen(shared, recording("story")))
    staying = asyncio.create_task(listen(shared, recording("question")))
    for _ in range(20):
        await asyncio.sleep(0)
    leaving.cancel()
    np.testing.assert_allclose(await staying, by_the_file(recording("question")), atol=1e-5)
    assert leaving.cancelled()


async def test_a_frame_has_its_length() -> None:
    with pytest.raises(ValueError, match=f"got a frame of 100 samples, expected {FRAME_SAMPLES}"):
        await SpeechProbability(SharedVad())(bytes(200))


async def test_a_call_that_fails_is_told_to_everyone_in_it_and_the_next_one_works() -> None:
    shared = SharedVad()
    broken, other = SpeechProbability(shared), SpeechProbability(shared)
    broken.h = np.zeros((1, 1, 3), np.float32)
    frame = frames(recording("question"))[0]
    results = await asyncio.gather(broken(frame), other(frame), return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    assert 0 <= await SpeechProbability(shared)(frame) <= 1


def test_the_vad_brings_no_engine_into_the_gateway() -> None:
    code = "import sys; from app import vad; vad.load(); print({'faster_whisper', 'ctranslate2'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
