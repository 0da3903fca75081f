"""Waveforms to the log-mel features that the service computes, differentiable. Knows no model.

The same steps as faster-whisper's FeatureExtractor, which the service runs in numpy: they differ by float32's rounding.
Shapes: N samples, M mel bands, T frames of 10 ms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from app.audio import HEARING_RATE
from app.workers.whisper_windows import WINDOW_FRAMES

FFT, HOP = 400, 160
TAIL = 160  # zeros behind the audio, as the extractor adds them
EDGE = 0.02  # seconds of silence at both ends while the rate changes, since the transform takes the signal for a loop


class LogMel(nn.Module):
    """Features of one recognizer; has no weights."""

    bank: Tensor
    window: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        from faster_whisper.feature_extractor import FeatureExtractor

        bank = FeatureExtractor(feature_size=mels).mel_filters
        self.register_buffer("bank", torch.from_numpy(bank), persistent=False)  # [M, FFT // 2 + 1]
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """[N] at HEARING_RATE, of at least a tenth of a second, to [M, T]; 30 s at most."""
        padded = nn.functional.pad(waveform, (0, TAIL))
        spectrum = torch.stft(
            padded, FFT, HOP, window=self.window, center=True, pad_mode="reflect", return_complex=True
        )[:, :-1]
        power = spectrum.real**2 + spectrum.imag**2  # |x|^2 by abs() has no gradient at 0
        logs = (self.bank @ power).clamp(min=1e-10).log10()
        logs = torch.maximum(logs, logs.max() - 8.0)
        return ((logs + 4.0) / 4.0)[:, :WINDOW_FRAMES]


def padded(features: Sequence[Tensor], frames: int) -> Tensor:
    """Features [M, T] of several clips as [B, M, frames], zeros behind each, as the service pads."""
    return torch.stack([nn.functional.pad(one[:, :frames], (0, max(0, frames - one.shape[1]))) for one in features])


def resampled(waveform: Tensor, rate: int) -> Tensor:
    """[N] at `rate` Hz to [N * HEARING_RATE / rate] at HEARING_RATE, by cutting or extending its spectrum."""
    if rate == HEARING_RATE:
        return waveform
    edge = round(EDGE * rate)
    wanted = round(len(waveform) * HEARING_RATE / rate)
    # A whole number of blocks of so many samples lasts equally long at both rates.
    block = rate // math.gcd(rate, HEARING_RATE)
    behind = edge + -(len(waveform) + 2 * edge) % block
    spectrum = torch.fft.rfft(nn.functional.pad(waveform, (edge, behind)))
    size = (len(waveform) + edge + behind) * HEARING_RATE // rate
    kept = min(len(spectrum), size // 2 + 1)
    spectrum = nn.functional.pad(spectrum[:kept], (0, size // 2 + 1 - kept))
    made: Tensor = torch.fft.irfft(spectrum, size) * (HEARING_RATE / rate)
    begin = edge * HEARING_RATE // rate
    return made[begin : begin + wanted]
