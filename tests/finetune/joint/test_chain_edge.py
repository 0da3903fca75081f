"""The chain edge: the service's features, differentiable, from the voice through the recognizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from app.audio import HEARING_RATE, resample, to_pcm16, to_waveform
from app.workers.whisper_windows import Asked, Windows
from finetune.joint.chain_edge import chain_loss
from finetune.joint.edges import Crossing
from finetune.joint.log_mel import LogMel, padded, resampled
from finetune.recipes.recognizer_model import Network
from finetune.recipes.recognizer_rows import Target
from tests.finetune.joint import tiny

TOLERANCE = 2e-4
"""Of log-mel, whose own range is 2; float32 rounds where bands are nearly silent."""


def speechlike(seconds: float, rate: int, highest: int = 5000) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Gliding harmonics below `highest` Hz with pauses, and some hiss."""
    draw = np.random.default_rng(1)
    time = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tones = sum(np.sin(k * phase) / k for k in range(1, highest // 160))
    made = 0.1 * tones * (np.sin(2 * np.pi * 1.3 * time) > -0.3) + 1e-3 * draw.standard_normal(len(time))
    return np.asarray(made, np.float32)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("seconds", [0.1, 1.003, 3.7])
def test_features_are_those_that_the_service_computes(mels: int, seconds: float) -> None:
    pcm = to_pcm16(speechlike(seconds, HEARING_RATE))
    (window,) = Windows(mels, 40).of(pcm, Asked())
    made = LogMel(mels)(torch.from_numpy(to_waveform(pcm).copy()))
    assert made.shape[1] == window.audio_frames
    found = padded([made], window.frames)[0].numpy()
    assert found.shape == window.features.shape
    assert float(np.abs(found - window.features).max()) < TOLERANCE


def test_digital_silence_has_features_and_gradients_without_holes() -> None:
    waveform = torch.zeros(1600, requires_grad=True)
    LogMel(80)(waveform).sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100])
def test_the_rate_changes_as_the_services_resampler_does_it(rate: int) -> None:
    waveform = speechlike(1.0, rate, highest=3000 if rate == 8000 else 5000)
    expected = resample(waveform, rate, HEARING_RATE)
    found = resampled(torch.from_numpy(waveform), rate).numpy()
    assert len(found) == HEARING_RATE
    inside = slice(400, min(len(found), len(expected)) - 400)
    error = np.sqrt(np.mean((found[inside] - expected[inside]) ** 2) / np.mean(expected[inside] ** 2))
    assert error < 0.01


def chain(scale: float) -> tuple[Network, tiny.HummingVoice, Crossing, torch.Tensor, int]:
    network, voice, crossing = Network(tiny.whisper(60)), tiny.HummingVoice(), Crossing()
    waveforms = [crossing(one, scale) for one in voice.speak(["hello you", "yes"])]
    targets = [Target((50, 51, 3, 4), (-100, 3, 4, 49)), Target((50, 51, 7), (-100, 7, 49))]
    loss, count = chain_loss(network, LogMel(80), waveforms, voice.rate, targets, lambda longest: 100)
    return network, voice, crossing, loss, count


def test_gradients_reach_voice_and_recognizer_and_only_the_recognizer_when_detached() -> None:
    norms = []
    for scale in (1.0, 0.1, 0.0):
        network, voice, crossing, loss, count = chain(scale)
        assert count == 5
        loss.backward()
        model = network.whisper.model
        assert all(tiny.norm(part.parameters()) > 1e-6 for part in (model.encoder, model.decoder))
        norms.append((tiny.norm(voice.parameters()), crossing.norm()))
    assert min(norms[0]) > 1e-6
    assert norms[1] == pytest.approx([one / 10 for one in norms[0]], rel=1e-3)
    assert norms[2] == (0.0, 0.0)


def test_a_voice_learns_to_be_understood_by_a_recognizer_that_stays_as_it_is() -> None:
    network, voice, _, first, _ = chain(1.0)
    network.requires_grad_(False)
    targets = [Target((50, 51, 3, 4), (-100, 3, 4, 49)), Target((50, 51, 7), (-100, 7, 49))]
    optimizer = torch.optim.Adam(voice.parameters(), 0.03)
    log_mel, losses = LogMel(80), []
    for _ in range(15):
        waveforms = voice.speak(["hello you", "yes"])
        loss, _ = chain_loss(network, log_mel, waveforms, voice.rate, targets, lambda longest: 100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.98 * losses[0]
    assert first.item() > 0
