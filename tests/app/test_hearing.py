"""The ear: the same frames however the audio is cut, each as soon as it is whole; and a light way to the VAD's file."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from app.audio import FRAME_SAMPLES, HEARING_RATE, REALTIME_RATE, Pcm16, Resampler, to_pcm16
from app.hearing import FRAME_BYTES, Hearing
from app.vad import SpeechProbability
from tests.sounds import flite, noise, silence


def speechlike(seconds: float) -> Pcm16:
    """Something other than silence."""
    return to_pcm16(noise(seconds, 0.1, REALTIME_RATE))


@pytest.mark.parametrize("samples", [1, 7, 480, 768, 960, 5000, 48_000])
def test_frames_do_not_depend_on_how_the_audio_is_cut(samples: int) -> None:
    pcm = speechlike(1.0)
    whole = heard(pcm, len(pcm))
    cut = heard(pcm, 2 * samples)
    assert len(cut) == len(whole) == 31 * FRAME_SAMPLES
    assert np.abs(cut - whole).max() <= 2  # soxr dithers its 16-bit output, anew in every call
    assert np.abs(whole).mean() > 1000


def heard(pcm: Pcm16, chunk_bytes: int) -> NDArray[np.int32]:
    """All samples of the frames that are made of the audio, cut into chunks."""
    ear = Hearing(None)
    chunks = [pcm[start : start + chunk_bytes] for start in range(0, len(pcm), chunk_bytes)]
    frames = [frame for chunk in chunks for frame, _ in ear.feed(chunk)]
    return np.frombuffer(b"".join(frames), "<i2").astype(np.int32)


@pytest.mark.parametrize("samples", [160, 480, 960])
def test_a_frame_is_given_out_with_the_bytes_that_complete_it(samples: int) -> None:
    resampler, ear = Resampler(REALTIME_RATE, HEARING_RATE), Hearing(None)
    pcm = speechlike(1.0)
    ready = given = 0
    for start in range(0, REALTIME_RATE * 2, samples * 2):
        chunk = pcm[start : start + samples * 2]
        ready += len(resampler.feed(chunk))
        given += sum(1 for _ in ear.feed(chunk))
        assert given == ready // FRAME_BYTES


def test_a_long_event_is_heard_step_by_step() -> None:
    ear = Hearing(None)
    frames = ear.feed(silence(60.0))
    assert len(list(itertools.islice(frames, 10))) == 10
    assert ear.heard_seconds == pytest.approx(0.32)  # the rest waits until it is asked for


def test_speech_is_told_from_silence_and_a_frame_has_its_length() -> None:
    probability = SpeechProbability()
    question = flite("what time is it", rate=HEARING_RATE)
    frames = [question[start : start + FRAME_BYTES] for start in range(0, len(question) - FRAME_BYTES, FRAME_BYTES)]
    assert max(probability(frame) for frame in frames) > 0.9
    probability.reset()
    assert max(probability(bytes(FRAME_BYTES)) for _ in range(50)) < 0.1
    with pytest.raises(ValueError, match=f"got a frame of 100 samples, expected {FRAME_SAMPLES}"):
        probability(bytes(200))


def test_the_vad_brings_no_engine_into_the_gateway() -> None:
    code = "import sys; from app import vad; vad.load(); print({'faster_whisper', 'ctranslate2'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
