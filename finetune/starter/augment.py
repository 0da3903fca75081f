"""Rooms, microphones and noise for generated speech; and clips in which nobody speaks.

Works on waveforms, float32 [samples] at HEARING_RATE, and knows nothing of text, voices or models.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter

from app.audio import HEARING_RATE, Waveform, resample

NOISES = ("white", "coloured", "swelling", "hum", "clicks", "beeps", "bursts", "rumble")
"""Kinds that training hears."""
TEST_NOISES = ("pink", "rain", "engine", "sweep")
"""Kinds kept for measurement."""


def generator(rng: random.Random) -> np.random.Generator:
    """A numpy generator seeded from `rng`, for whole arrays."""
    return np.random.default_rng(rng.randrange(1 << 40))


def change_speed(waveform: Waveform, rate: int, factor: float) -> Waveform:
    """Resampled to HEARING_RATE and played `factor` times as fast: pitch and formants move with it."""
    played_rate = max(1000, round(rate * factor))
    return resample(waveform, played_rate, HEARING_RATE)


def distort(waveform: Waveform, rng: random.Random) -> tuple[Waveform, float]:
    """Random room, tone, band, level, surrounding silence and noise; with the seconds of silence put in front."""
    draw = generator(rng)
    if rng.random() < 0.3:
        waveform = reverberate(waveform, rng.uniform(0.05, 0.35), rng.uniform(3, 12), draw)
    if rng.random() < 0.5:
        waveform = lfilter([1, rng.uniform(-0.75, 0.6)], [1], waveform).astype(np.float32)
    if rng.random() < 0.2:
        band = butter(2, [rng.uniform(80, 300), rng.uniform(3000, 7000)], "band", fs=HEARING_RATE)
        waveform = lfilter(*band, waveform).astype(np.float32)
    lead, tail = rng.uniform(0, 0.5), rng.uniform(0, 0.8)
    waveform = np.pad(waveform, (int(lead * HEARING_RATE), int(tail * HEARING_RATE)))
    waveform = at_level(waveform, rng.uniform(0.05, 0.95))
    if rng.random() < 0.4:
        kind = rng.choice(("white", "coloured", "coloured", "swelling", "hum", "rumble"))
        waveform = add_noise(waveform, noise(kind, len(waveform), rng), rng.uniform(6, 40))
    else:
        hiss = rng.choice([0.0, 1e-4, 1e-3])
        waveform = waveform + hiss * draw.standard_normal(len(waveform)).astype(np.float32)
    return _clipped(waveform), lead


def reverberate(waveform: Waveform, seconds: float, direct: float, draw: np.random.Generator) -> Waveform:
    """Decaying-noise room of `seconds`; `direct` is the first sound's height over the tail's."""
    times = np.arange(int(HEARING_RATE * seconds)) / (HEARING_RATE * seconds)
    room = draw.standard_normal(len(times)) * np.exp(-6 * times)
    room[0] = direct
    heard: Waveform = fftconvolve(waveform, room)[: len(waveform) + 800].astype(np.float32)
    return heard


def at_level(waveform: Waveform, peak: float) -> Waveform:
    """Scaled so that the largest sample is `peak`."""
    return waveform * np.float32(peak / (np.abs(waveform).max() + 1e-6))


def add_noise(waveform: Waveform, disturbance: Waveform, snr_db: float) -> Waveform:
    """The sum, with `disturbance` scaled to `snr_db` below the waveform's own power."""
    power = float(np.sqrt(np.mean(waveform**2)) / (np.sqrt(np.mean(disturbance**2)) + 1e-9))
    return waveform + disturbance * np.float32(power * 10 ** (-snr_db / 20))


def no_speech(rng: random.Random, kinds: tuple[str, ...] = NOISES) -> Waveform:
    """0.4 to 6 s without a voice: digital silence, hiss, or one or two of `kinds` at any level."""
    samples = int(rng.uniform(0.4, 6.0) * HEARING_RATE)
    draw = rng.random()
    if draw < 0.08:
        return np.zeros(samples, np.float32)
    waveform = generator(rng).standard_normal(samples).astype(np.float32) * 10 ** rng.uniform(-5, -2.5)
    if draw < 0.2:
        return waveform.astype(np.float32)
    for _ in range(rng.choice([1, 1, 2])):
        waveform = waveform + at_level(noise(rng.choice(kinds), samples, rng), 10 ** rng.uniform(-3, -0.1))
    if rng.random() < 0.2:
        waveform = reverberate(waveform, rng.uniform(0.05, 0.3), rng.uniform(2, 8), generator(rng))[:samples]
    return _clipped(waveform)


def noise(kind: str, samples: int, rng: random.Random) -> Waveform:
    """`samples` of one kind of NOISES or TEST_NOISES, about unit level."""
    draw = generator(rng)
    hiss = draw.standard_normal(samples)
    times = np.arange(samples) / HEARING_RATE
    if kind == "white":
        sound = hiss
    elif kind == "coloured":
        sound = lfilter([1], [1, -rng.uniform(-0.6, 0.98)], hiss)
    elif kind == "swelling":
        sound = lfilter([1], [1, -rng.uniform(0, 0.9)], hiss) * (0.3 + np.abs(np.sin(times * rng.uniform(1, 12))))
    elif kind == "rumble":
        sound = lfilter(*butter(2, rng.uniform(60, 400), "low", fs=HEARING_RATE), hiss)
    elif kind == "hum":
        pitch = rng.choice([50, 60, 100, 120]) * rng.uniform(0.98, 1.02)
        heights = [rng.random() / (k + 1) for k in range(20)]
        sound = 0.02 * hiss + sum(h * np.sin(2 * np.pi * pitch * (k + 1) * times) for k, h in enumerate(heights))
    elif kind == "clicks":
        sound = 0.003 * hiss + _bursts(samples, rng, draw, per_second=rng.uniform(1, 8), seconds=(0.002, 0.02))
    elif kind == "bursts":
        sound = 0.01 * hiss + _bursts(samples, rng, draw, per_second=rng.uniform(0.5, 5), seconds=(0.03, 0.3))
    elif kind == "beeps":
        pitch = rng.uniform(300, 3500)
        gate = np.sin(2 * np.pi * times * rng.uniform(0.3, 4)) > rng.uniform(-1, 0.7)
        sound = 0.005 * hiss + gate * np.sin(2 * np.pi * pitch * times)
    elif kind == "pink":
        spectrum = np.fft.rfft(hiss) / np.sqrt(np.arange(samples // 2 + 1) + 1)
        sound = np.fft.irfft(spectrum, samples)
    elif kind == "rain":
        drops = (draw.random(samples) < rng.uniform(50, 400) / HEARING_RATE) * draw.standard_normal(samples)
        sound = 0.02 * hiss + lfilter(*butter(2, [1500, 6000], "band", fs=HEARING_RATE), drops) * 5
    elif kind == "engine":
        phase = np.cumsum(rng.uniform(25, 90) * (1 + 0.1 * np.sin(times * rng.uniform(0.5, 3)))) / HEARING_RATE
        sound = lfilter(*butter(1, 800, "low", fs=HEARING_RATE), phase % 1 - 0.5 + 0.2 * hiss)
    elif kind == "sweep":
        sound = 0.005 * hiss + np.sin(2 * np.pi * (rng.uniform(100, 800) * times + rng.uniform(50, 600) * times**2))
    else:
        raise ValueError(f"got noise kind {kind!r}, expected one of {NOISES + TEST_NOISES}")
    unit: Waveform = (sound / (np.std(sound) + 1e-9)).astype(np.float32)
    return unit


def _clipped(waveform: Waveform) -> Waveform:
    limited: Waveform = np.clip(waveform, -1, 1).astype(np.float32)
    return limited


def _bursts(
    samples: int, rng: random.Random, draw: np.random.Generator, per_second: float, seconds: tuple[float, float]
) -> NDArray[np.float64]:
    """Short decaying knocks at random times."""
    sound = np.zeros(samples)
    for _ in range(max(1, round(per_second * samples / HEARING_RATE))):
        size = min(samples, int(rng.uniform(*seconds) * HEARING_RATE) + 8)
        start = rng.randrange(samples - size + 1)
        knock = draw.standard_normal(size) * np.exp(-5 * np.arange(size) / size) * rng.uniform(0.2, 1)
        if rng.random() < 0.5:
            knock = lfilter([1], [1, -rng.uniform(0.3, 0.95)], knock)
        sound[start : start + size] += knock
    return sound
