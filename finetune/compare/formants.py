"""Speech of made-up people in a made-up language, by formants: small, seeded, and the same on every machine.

Letters are sounds: five vowels and twelve consonants. A person is a length of throat, a pitch, a pace, a tilt and a
breath. Knows no words. T frames of 10.7 ms, F frequencies.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.audio import Waveform
from app.workers.vocoder import FFT, HOP, RATE, Vocoder

VOWELS: Final = {
    "a": (750, 1250, 2500), "e": (480, 1900, 2600), "i": (300, 2300, 3100), "o": (500, 900, 2400),
    "u": (330, 700, 2200),
}  # fmt: skip
"""Hz of three formants, of a throat of length 1; about those of Peterson and Barney (1952)."""
SONORANTS: Final = {"m": (250, 1000, 2200), "n": (250, 1600, 2700), "l": (350, 1100, 2800), "r": (420, 1300, 1700)}
FRICATIVES: Final = {"s": (6000, 1200), "f": (3500, 4000)}
"""Hz of a band of noise: its middle and its width."""
STOPS: Final = {"p": 700, "t": 4200, "k": 1900, "b": 700, "d": 4200, "g": 1900}
"""Hz around which the burst sounds."""
VOICED: Final = "bdg"
LETTERS: Final = "".join([*VOWELS, *SONORANTS, *FRICATIVES, *STOPS])
COEFFICIENTS: Final = 40
"""Of the cepstra: more than the formants need, fewer than would draw the harmonics."""
SILENT: Final = -12.0
GRID: Final[NDArray[np.float64]] = np.arange(FFT // 2 + 1) * RATE / FFT  # Hz [F]
EDGE: Final = 8
"""Frames of silence at both ends: 85 ms."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """One made-up person."""

    name: str
    throat: float
    """Factor on the formants."""
    hertz: float
    pace: float
    """Factor on durations."""
    tilt: float
    """Nats by which the spectrum falls an octave above 500 Hz."""
    breath: float
    """Nats by which noise is under the voice in vowels."""


def speaker(name: str) -> Speaker:
    """The person of a name; any name has one."""
    draw = random.Random(f"formants {name}")
    throat = draw.uniform(0.88, 1.14)
    hertz = (105 if draw.random() < 0.5 else 190) * draw.uniform(0.8, 1.25)
    return Speaker(name, throat, hertz, draw.uniform(0.85, 1.2), draw.uniform(0.2, 0.7), draw.uniform(2.5, 4.5))


def speak(text: str, who: Speaker, draw: random.Random) -> Waveform:
    """Words of LETTERS with spaces between them, at RATE, loudest 0.5. Raises KeyError for another letter."""
    hertz, harmonic, noise = [], [], []
    for _, voice, hiss, frames in _segments(text, who, draw):
        harmonic += [voice] * frames
        noise += [hiss] * frames
        hertz += [float(voice.max() > SILENT + 1)] * frames
    count = len(hertz)
    glide = who.hertz * (1.08 - 0.16 * np.arange(count) / count) * np.exp(0.02 * draw.gauss(0, 1))
    pitch = (np.array(hertz) * glide).astype(np.float32)
    maker = Vocoder(draw.randrange(2**31))
    samples = np.concatenate([maker.next(pitch, _cepstra(harmonic), _cepstra(noise)), maker.flush()])
    return (0.5 * samples / max(1e-6, float(np.abs(samples).max()))).astype(np.float32)


def ends(text: str, who: Speaker, draw: random.Random) -> list[tuple[str, float]]:
    """Each sound that `speak` makes of the same arguments, " " for silence, and when it ends, in seconds."""
    found, frames = [], 0
    for letter, _, _, count in _segments(text, who, draw):
        frames += count
        found.append((letter, frames * HOP / RATE))
    return found


def noisy(waveform: Waveform, decibels: float, seed: int) -> Waveform:
    """With white noise that much below the speech."""
    hiss = np.random.default_rng(seed).standard_normal(len(waveform))
    level = float(np.sqrt(np.mean(waveform**2))) * 10 ** (-decibels / 20)
    return np.clip(waveform + level * hiss, -1, 1).astype(np.float32)


def _segments(text: str, who: Speaker, draw: random.Random) -> list[tuple[str, NDArray[Any], NDArray[Any], int]]:
    """Letter, log-magnitudes [F] of voice and noise, and for how many frames."""
    still = np.full(len(GRID), SILENT)
    found = [(" ", still, still, EDGE)]
    for number, word in enumerate(text.split()):
        if number:
            found.append((" ", still, still, draw.randint(2, 5)))
        for letter in word:
            for voice, hiss, frames in _letter(letter, who):
                count = max(1, round(who.pace * frames * draw.uniform(0.85, 1.15)))
                found.append((letter, still if voice is None else voice, still if hiss is None else hiss, count))
    return [*found, (" ", still, still, EDGE)]


def _letter(letter: str, who: Speaker) -> list[tuple[NDArray[Any] | None, NDArray[Any] | None, int]]:
    """Voice, noise and frames of each part of a sound."""
    if letter in VOWELS:
        voice = _formants(VOWELS[letter], who, 0.0)
        return [(voice, voice - who.breath, 6)]
    if letter in SONORANTS:
        voice = _formants(SONORANTS[letter], who, -1.2)
        return [(voice, voice - who.breath, 4)]
    if letter in FRICATIVES:
        middle, width = FRICATIVES[letter]
        return [(None, _band(middle * who.throat, width, -1.5 if letter == "s" else -2.6), 5)]
    burst = _band(STOPS[letter] * who.throat, 900, -1.0)
    murmur = _formants((200, 900, 2200), who, -3.5) if letter in VOICED else None
    return [(murmur, None, 2), (murmur, burst, 2)]


def _formants(hertz: tuple[int, int, int], who: Speaker, level: float) -> NDArray[Any]:
    size = np.full(len(GRID), 0.004)
    for number, middle in enumerate(hertz):
        place, width = middle * who.throat, 60 + 40 * number
        size = size + 0.7**number / (1 + ((GRID - place) / width) ** 2)
    fall = who.tilt * np.log2(np.maximum(GRID, 500) / 500)
    return np.asarray(np.log(size) - fall + level)


def _band(middle: float, width: float, level: float) -> NDArray[Any]:
    return np.asarray(level - 4 + 4 * np.exp(-(((GRID - middle) / width) ** 2)))


def _cepstra(logs: list[NDArray[Any]]) -> NDArray[np.float32]:
    """Log-magnitudes [T, F] to causal cepstra [T, COEFFICIENTS], each frame mixed with its neighbours: sounds glide."""
    frames = np.stack(logs)
    around = np.concatenate([frames[:1], frames, frames[-1:]])
    smooth = 0.25 * around[:-2] + 0.5 * around[1:-1] + 0.25 * around[2:]
    whole = np.fft.irfft(smooth, FFT)[:, :COEFFICIENTS]
    whole[:, 1:] *= 2
    return whole.astype(np.float32)
