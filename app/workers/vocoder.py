"""Source and filter: pitch and per-frame filters to samples, in chunks of any size. Knows no text and no network.

A pulse train and noise each pass a filter that changes every frame. Filters come as causal real cepstra, so that they
are minimum-phase: like a vocal tract, they ring after a pulse and never before it. Every chunk size gives the same
samples. Legend: T frames of HOP samples, K cepstral coefficients.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE = 24_000  # Hz: the Realtime rate, so that nothing resamples the voice
HOP = 256  # samples a frame: 10.7 ms, 93.75 frames a second
WINDOW = 2 * HOP  # Hann windows with half overlap add up to one
FFT = 1024  # leaves FFT - WINDOW = 512 samples, 21 ms, for a filter's ringing
DELAY = WINDOW - HOP // 2  # 384 samples: a frame is finished when the next one's pitch is known
SILENT = -14.0  # zeroth cepstral coefficient, a logarithm, of a frame without sound
PULSE_TAPS = 8

Floats: TypeAlias = NDArray[np.float32]


class Excitation:
    """Pulses and noise of one utterance; the phase runs on from chunk to chunk.

    Segment t of HOP samples runs from the middle of frame t - 1 to the middle of frame t, so that pitch glides.
    """

    def __init__(self, seed: int = 0, phase: float = 0.0) -> None:
        self._noise = np.random.default_rng(seed)
        self._phase = phase  # cycles
        self._hertz = 0.0
        self._tail = np.zeros(PULSE_TAPS, np.float32)  # a pulse that began in the last chunk

    def next(self, hertz: Floats) -> tuple[Floats, Floats]:
        """Pitch [T] (0: unvoiced) to pulses and noise [T * HOP], both of unit power where they sound."""
        samples = len(hertz) * HOP
        before, after = np.concatenate([[self._hertz], hertz[:-1]])[:, None], hertz[:, None]
        ramp = np.arange(1, HOP + 1) / HOP
        nearer = np.where(ramp <= 0.5, before, after)
        gliding = (before > 0) & (after > 0)
        pitch = np.where(gliding, before + (after - before) * ramp, nearer).reshape(-1)
        phase = self._phase + np.cumsum(pitch / RATE)
        cycles = np.floor(phase)
        struck = np.flatnonzero(np.diff(cycles, prepend=np.floor(self._phase)) > 0)
        # The true instant lies between two samples; rounding it would roughen the upper harmonics.
        late = (phase[struck] - cycles[struck]) * RATE / pitch[struck]
        taps = np.arange(PULSE_TAPS)
        offset = taps[None] - PULSE_TAPS / 2 + late[:, None]
        shape = np.sinc(offset) * np.cos(np.pi * np.clip(offset / (PULSE_TAPS + 2), -0.5, 0.5)) ** 2
        pulses = np.zeros(samples + PULSE_TAPS)
        pulses[:PULSE_TAPS] = self._tail
        np.add.at(pulses, struck[:, None] + taps, shape * np.sqrt(RATE / pitch[struck])[:, None])
        self._tail = pulses[samples:].astype(np.float32)
        self._phase = float(phase[-1] % 1.0) if samples else self._phase
        self._hertz = float(hertz[-1]) if samples else self._hertz
        return pulses[:samples].astype(np.float32), self._noise.standard_normal(samples).astype(np.float32)


class Vocoder:
    """One utterance's samples from its frames; `next` for each chunk of frames, then `flush`."""

    def __init__(self, seed: int = 0) -> None:
        self._excitation = Excitation(seed)
        self._last = np.zeros((2, 1, HOP), np.float32)  # excitation of the segment before
        self._waiting: tuple[Floats, Floats] | None = None  # filters of the frame before
        self._overlap = np.zeros(FFT - HOP, np.float32)  # what earlier frames still ring
        self._skip = DELAY
        self._window = np.hanning(WINDOW + 1)[:WINDOW].astype(np.float32)

    def next(self, hertz: Floats, harmonic: Floats, noise: Floats) -> Floats:
        """Pitch [T] and cepstra [T, K] to float32 samples: T * HOP of them, DELAY fewer at the beginning."""
        count = len(hertz)
        if not count:
            return np.zeros(0, np.float32)
        first = self._waiting or (_silence(harmonic), _silence(noise))
        self._waiting = harmonic[-1:], noise[-1:]
        source = np.stack(self._excitation.next(hertz)).reshape(2, count, HOP)
        before = np.concatenate([self._last, source[:, :-1]], axis=1)
        self._last = source[:, -1:]
        windows = np.concatenate([before, source], axis=2) * self._window  # [2, T, WINDOW]
        spectrum = np.fft.rfft(windows[0], FFT) * filter_of(np.concatenate([first[0], harmonic[:-1]]))
        spectrum += np.fft.rfft(windows[1], FFT) * filter_of(np.concatenate([first[1], noise[:-1]]))
        frames = np.fft.irfft(spectrum, FFT).astype(np.float32).reshape(count, FFT // HOP, HOP)
        out = np.zeros((count + FFT // HOP - 1, HOP), np.float32)
        out[: FFT // HOP - 1] = self._overlap.reshape(-1, HOP)
        for part in range(FFT // HOP):
            out[part : part + count] += frames[:, part]
        self._overlap = out[count:].reshape(-1)
        samples = out[:count].reshape(-1)
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        return samples[skipped:]

    def flush(self) -> Floats:
        """The last DELAY samples, so that an utterance of T frames has T * HOP samples."""
        if self._waiting is None:
            return np.zeros(0, np.float32)
        quiet = [np.repeat(_silence(cepstra), 2, axis=0) for cepstra in self._waiting]
        return self.next(np.zeros(2, np.float32), *quiet)[:DELAY]


def filter_of(cepstra: NDArray[Any]) -> NDArray[np.complex64]:
    """Causal cepstra [T, K] to minimum-phase frequency responses [T, FFT // 2 + 1]."""
    log = np.fft.rfft(cepstra, FFT)
    # By its parts: numpy's complex exponential takes three times as long, a fifth of the voice's work.
    response = np.empty(log.shape, np.complex64)
    size = np.exp(log.real)
    response.real, response.imag = size * np.cos(log.imag), size * np.sin(log.imag)
    return response


def _silence(cepstra: Floats) -> Floats:
    quiet = np.zeros_like(cepstra[:1])
    quiet[:, 0] = SILENT
    return quiet
