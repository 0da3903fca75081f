"""What the starter voice is trained on: level, log-mel frames and pitch of recordings. Knows no text and no model.

Legend: N samples at RATE, T frames of HOP samples; frame t is centred on sample t * HOP + HOP / 2.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.audio import Waveform
from app.workers.vocoder import HOP, RATE

MEL_WINDOW = 1024  # 42.7 ms
MELS = 80
LEVEL = 0.08  # RMS of speech frames that every recording is brought to: -22 dBFS, peaks below full scale
LOWEST_HZ, HIGHEST_HZ = 70.0, 400.0  # human speaking pitch

Floats: TypeAlias = NDArray[np.float32]


def levelled(waveform: Waveform) -> Waveform:
    """The recording with its speech at LEVEL; peaks are limited to full scale."""
    energy = np.sqrt((_frames(waveform, HOP) ** 2).mean(axis=1) + 1e-12)
    speech = energy > 0.06 * np.percentile(energy, 95)  # 24 dB below the loud frames: pauses and breath
    gain = LEVEL / max(1e-4, float(np.sqrt((energy[speech] ** 2).mean())))
    loud = waveform * gain
    limited: Waveform = np.clip(loud / max(1.0, float(np.abs(loud).max())), -1.0, 1.0).astype(np.float32)
    return limited


def mel_filters(rate: int = RATE, size: int = MEL_WINDOW, bands: int = MELS) -> Floats:
    """Triangular filters [bands, size // 2 + 1] on the Slaney scale (linear to 1 kHz, then logarithmic), unit area."""

    def to_mel(hertz: Any) -> Any:
        return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))

    def to_hertz(mel: Any) -> Any:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    edges = to_hertz(np.linspace(0, to_mel(rate / 2), bands + 2))
    bins = np.arange(size // 2 + 1) * rate / size
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    scaled: Floats = (filters * 40).astype(np.float32)  # speech at LEVEL then gives logarithms around zero
    return scaled


def log_mel(waveform: Waveform) -> Floats:
    """Log-mel frames [T, MELS], T = N // HOP."""
    spectrum = np.abs(np.fft.rfft(_frames(waveform, MEL_WINDOW) * np.hanning(MEL_WINDOW), axis=1)).astype(np.float32)
    mel: Floats = np.log(np.maximum(spectrum @ mel_filters().T, 1e-3)).astype(np.float32)
    return mel


def pitch(waveform: Waveform) -> Floats:
    """Hertz per frame [T], 0 where unvoiced.

    Normalised cross-correlation at half the rate, the path through lags and silence by dynamic programming, after
    RAPT (Talkin 1995): a jump costs its size in octaves, so single octave errors do not survive.
    """
    rate = RATE // 2
    slow = waveform[: len(waveform) // 2 * 2].reshape(-1, 2).mean(axis=1)
    shortest, longest = int(rate / HIGHEST_HZ), int(rate / LOWEST_HZ)
    size, hop = 360, HOP // 2  # 30 ms: two periods of the lowest usual pitch
    count = len(waveform) // HOP
    reach = size + longest
    padded = np.pad(slow, (size // 2, reach + hop))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)[hop // 2 :: hop][:count]  # [T, reach]
    fft = 1 << (reach + size - 1).bit_length()
    products = np.fft.irfft(
        np.fft.rfft(windows, fft, axis=1) * np.conj(np.fft.rfft(windows[:, :size], fft, axis=1)), axis=1
    )[:, : longest + 1]
    squares = np.cumsum(np.pad(windows**2, ((0, 0), (1, 0))), axis=1)
    energy = squares[:, size : size + longest + 1] - squares[:, : longest + 1]
    # The floor makes the correlation of near-silence small instead of arbitrary.
    correlation = products / np.sqrt(energy[:, :1] * energy + (size * 2e-5) ** 2 + 1e-12)
    lags = np.arange(shortest, longest + 1)
    scores = correlation[:, shortest:] - 0.0006 * (lags - shortest)  # a slight preference for the shorter lag
    path = _best_path(scores, lags)
    hertz = np.zeros(count, np.float32)
    voiced = path >= 0
    centre = np.clip(path + shortest, 1, longest - 1)
    rows = np.arange(count)
    left, mid, right = (correlation[rows, centre + shift] for shift in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = np.where(np.abs(bend) > 1e-6, 0.5 * (left - right) / np.where(np.abs(bend) > 1e-6, bend, 1), 0)
    hertz[voiced] = (rate / (centre + np.clip(shift, -0.5, 0.5)))[voiced]
    return hertz


def _best_path(scores: NDArray[Any], lags: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the lag per frame, -1 where unvoiced [T]; maximises correlation less the cost of jumps."""
    octaves = np.abs(np.log2(lags[:, None] / lags[None]))
    jumps = (1.5 * octaves + 0.5 * (octaves > 0.2)).astype(np.float64)
    unvoiced_score, switch = 0.45, 0.15  # below this correlation a frame counts as unvoiced; cost of starting, ending
    count, states = scores.shape
    best, silent = scores[0].astype(np.float64), unvoiced_score
    back = np.zeros((count, states), np.int64)
    back_silent = np.zeros(count, np.int64)
    for t in range(1, count):
        arrivals = best[None] - jumps  # [to, from]
        origin = arrivals.argmax(axis=1)
        stay = arrivals[np.arange(states), origin]
        start = silent - switch
        back[t] = np.where(stay >= start, origin, -1)
        loudest = int(best.argmax())
        back_silent[t] = loudest if best[loudest] - switch > silent else -1
        silent = max(silent, best[loudest] - switch) + unvoiced_score
        best = np.maximum(stay, start) + scores[t]
    path = np.full(count, -1, np.int64)
    state = int(best.argmax()) if best.max() > silent else -1
    for t in range(count - 1, -1, -1):
        path[t] = state
        state = int(back[t, state]) if state >= 0 else int(back_silent[t])
    return path


def _frames(waveform: Waveform, size: int) -> Floats:
    """Windows [N // HOP, size] centred on the frames, zeros beyond the ends."""
    padded = np.pad(waveform, (size // 2, size // 2 + HOP))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[HOP // 2 :: HOP][: len(waveform) // HOP]
