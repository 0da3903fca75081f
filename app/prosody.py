"""How the last words before a pause were spoken: pitch, level and length, in any language. Knows no turn, no words.

Most languages let a finished sentence fall, in pitch and loudness, and hold both where the speaker only thinks.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from app.audio import HEARING_RATE, Waveform

TAIL_SECONDS = 2.0  # of audio that is looked at: enough for the speaker's usual pitch and loudness
RATE = HEARING_RATE // 2  # Hz: pitch and level need no more, and half the samples take half the time
HOP = RATE // 100  # 80 samples, 10 ms
WINDOW = 4 * HOP  # 40 ms: two periods of the deepest voice
LOWEST_HZ, HIGHEST_HZ = 65, 400
VOICED = 0.45  # normalised autocorrelation from which a window counts as voiced
RANGE_DB = 30.0  # below the loudest window: what is quieter is no speech
FLOOR_DB = 8.0  # above the silence after it
END, SLOPE = 8, 30  # windows at the end of speech: 80 ms for where it ends, 300 ms for how it gets there

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prosody:
    """The end of the speech before a pause, relative to the same speaker's last seconds."""

    pitch_end: float
    """Octaves of the last voiced 80 ms over the speaker's median."""
    pitch_slope: float
    """Octaves per second in the last voiced 300 ms."""
    level_end: float
    """Decibels of the last 80 ms over the mean of all speech."""
    level_slope: float
    """Decibels per second in the last 300 ms."""
    last_voiced: float
    """Seconds of the last voiced stretch: final syllables are drawn out."""
    voiced_share: float
    """Of the last 300 ms, 0..1."""

    def array(self) -> Array:
        """float64 [6], in the order of the fields."""
        return np.array(astuple(self))


def prosody(waveform: Waveform) -> Prosody | None:
    """Of float32 [samples] at HEARING_RATE that end in the pause; None where there is hardly any speech before it."""
    tail = waveform[-int(TAIL_SECONDS * HEARING_RATE) :]
    if len(tail) < HEARING_RATE // 5:
        return None
    level, pitch = contours(tail)
    silence = float(np.median(level[-4:]))
    speech = np.flatnonzero(level > max(level.max() - RANGE_DB, silence + FLOOR_DB))
    if len(speech) < END:
        return None
    last = int(speech[-1]) + 1
    level, pitch = level[:last], pitch[:last]
    voiced = np.flatnonzero(pitch)
    octaves = np.log2(pitch[voiced]) if len(voiced) else np.zeros(0)
    recent = voiced >= last - SLOPE
    stretch = _last_run(voiced)
    return Prosody(
        pitch_end=float(np.clip(np.mean(octaves[-END:]) - np.median(octaves), -1, 1)) if len(voiced) >= END else 0.0,
        pitch_slope=float(np.clip(_slope(voiced[recent], octaves[recent]), -5, 5)),
        level_end=float(level[-END:].mean() - level[speech].mean()),
        level_slope=_slope(np.arange(len(level[-SLOPE:])), level[-SLOPE:]),
        last_voiced=min(stretch, 60) * HOP / RATE,
        voiced_share=float(np.mean(pitch[-SLOPE:] > 0)),
    )


def contours(waveform: Waveform) -> tuple[Array, Array]:
    """Level in decibels and pitch in Hz, 0 where unvoiced, of each window: float64 [windows], HOP apart."""
    halved = waveform[: len(waveform) // 2 * 2].reshape(-1, 2).mean(axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(halved, WINDOW)[::HOP]  # [windows, WINDOW]
    windows = windows - windows.mean(axis=1, keepdims=True)
    level = 10 * np.log10(np.mean(windows**2, axis=1, dtype=np.float64) + 1e-10)
    lags = np.arange(RATE // HIGHEST_HZ, RATE // LOWEST_HZ)
    size = 512  # at least WINDOW + the longest lag, so that the correlation does not wrap round
    correlation = np.fft.irfft(np.abs(np.fft.rfft(windows, size, axis=1)) ** 2, size, axis=1)
    # A longer lag has fewer products, and so loses to a shorter one that fits as well: no period is taken for two.
    scaled = correlation[:, lags] / (correlation[:, :1] + 1e-9)
    best = scaled.argmax(axis=1)
    strength = scaled[np.arange(len(best)), best]
    voiced = (strength > VOICED) & (level > level.max() - RANGE_DB)
    return level, np.where(voiced, RATE / lags[best], 0.0)


def _slope(windows: NDArray[np.int64], values: Array) -> float:
    """Per second, of a straight line through the windows' values; 0 where there are too few."""
    if len(windows) < END:
        return 0.0
    return float(np.polyfit(windows * HOP / RATE, values, 1)[0])


def _last_run(indices: NDArray[np.int64]) -> int:
    """Windows of the last stretch of indices without a hole of more than two."""
    if not len(indices):
        return 0
    holes = np.flatnonzero(np.diff(indices) > 3)
    first = indices[holes[-1] + 1] if len(holes) else indices[0]
    return int(indices[-1] - first + 1)
