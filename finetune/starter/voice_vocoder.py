"""The vocoder's network and its training: mel frames and pitch to the filters of app/workers/vocoder.py.

Knows no text and no acoustic model. Legend: B batch, T frames, N = T * HOP samples, K cepstral coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from app.workers.vocoder import FFT, HOP, WINDOW, Excitation
from finetune.starter.voice_corpus import Clip
from finetune.starter.voice_features import MELS, Floats
from finetune.starter.voice_loop import LossOf

HARMONIC_CEPSTRA = 160  # 6.7 ms: shorter than a period of this voice, so that filters cannot draw harmonics
NOISE_CEPSTRA = 80
SPECTRA = (256, 512, 1024, 2048)  # window lengths of the loss: from bursts to single harmonics


class Block(nn.Module):
    """ConvNeXt block over time [B, T, D] (Liu et al. 2022): depthwise convolution, then two linear layers."""

    def __init__(self, width: int, kernel: int, expansion: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * expansion)
        self.down = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T, 1] -> [B, T, D]; masked frames do not leak into their neighbours."""
        mixed = self.depthwise((x * mask).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.scale * self.down(F.gelu(self.up(self.norm(mixed))))
        return out


class FilterNetwork(nn.Module):
    """Normalised mel, pitch and voicing of each frame to two cepstra."""

    def __init__(self, width: int = 192, blocks: int = 3) -> None:
        super().__init__()
        self.enter = nn.Linear(MELS + 2, width)
        self.blocks = nn.ModuleList(Block(width, 5) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, HARMONIC_CEPSTRA + NOISE_CEPSTRA)
        nn.init.normal_(self.leave.weight, std=0.002)
        nn.init.zeros_(self.leave.bias)
        with torch.no_grad():  # begin at about the level of speech, the noise below the harmonics
            self.leave.bias[0] = -3.0
            self.leave.bias[HARMONIC_CEPSTRA] = -5.0

    def forward(self, mel: Tensor, tone: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """mel [B, T, MELS], tone [B, T, 2] (pitch, voicing) -> harmonic and noise cepstra [B, T, K].

        `mask` [B, T] is 0 behind the frames of a shorter row.
        """
        x = self.enter(torch.cat([mel, tone], dim=-1))
        frames = torch.ones_like(x[..., :1]) if mask is None else mask.unsqueeze(-1)
        for block in self.blocks:
            x = block(x, frames)
        cepstra = self.leave(self.norm(x))
        return cepstra[..., :HARMONIC_CEPSTRA], cepstra[..., HARMONIC_CEPSTRA:]


def filtered(pulses: Tensor, noise: Tensor, harmonic: Tensor, breath: Tensor) -> Tensor:
    """Sources [B, N + HOP] through cepstra [B, T, K] -> [B, N]; the differentiable twin of app/workers/vocoder.py.

    Output sample n is the recording's sample n - HOP // 2, since frame t sounds from the middle of the frame before.
    """
    window = torch.hann_window(WINDOW, device=pulses.device)

    def spectra(source: Tensor) -> Tensor:
        framed: Tensor = torch.fft.rfft(source.unfold(1, WINDOW, HOP) * window, FFT)  # [B, T, FFT // 2 + 1]
        return framed

    spectrum = spectra(pulses) * _response(harmonic) + spectra(noise) * _response(breath)
    frames = torch.fft.irfft(spectrum, FFT)  # [B, T, FFT]
    batch, count, _ = frames.shape
    parts = frames.reshape(batch, count, FFT // HOP, HOP)
    total = sum(F.pad(parts[:, :, n], (0, 0, n, FFT // HOP - 1 - n)) for n in range(FFT // HOP))
    assert isinstance(total, Tensor)
    return total[:, :count].reshape(batch, -1)


def spectral_loss(made: Tensor, recorded: Tensor) -> Tensor:
    """Multi-resolution STFT loss of [B, N] waveforms (Yamamoto et al. 2020): log magnitude and convergence."""
    loss = torch.zeros((), device=made.device)
    for size in SPECTRA:
        window = torch.hann_window(size, device=made.device)
        a = torch.stft(made, size, size // 4, window=window, return_complex=True).abs().clamp(min=1e-3)
        b = torch.stft(recorded, size, size // 4, window=window, return_complex=True).abs().clamp(min=1e-3)
        loss = loss + (a.log() - b.log()).abs().mean() + (a - b).norm() / b.norm().clamp(min=1e-2)
    return loss / len(SPECTRA)


def _response(cepstra: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(cepstra, FFT)
    return torch.polar(spectrum.real.clamp(-14, 4).exp(), spectrum.imag)


@dataclass(frozen=True, slots=True)
class Scale:
    """What a corpus' features are normalised by; part of the voice."""

    mel_mean: Floats
    """[MELS]."""
    mel_deviation: Floats
    """[MELS]."""
    pitch_mean: float
    """Natural logarithm of hertz."""
    pitch_deviation: float

    def mel(self, frames: NDArray[Any]) -> Floats:
        """Log-mel [T, MELS] to about -2..2."""
        return ((frames.astype(np.float32) - self.mel_mean) / self.mel_deviation).astype(np.float32)

    def tone(self, hertz: Floats) -> Floats:
        """Pitch [T] to [T, 2]: normalised logarithm (0 where unvoiced) and voicing."""
        level = (np.log(np.maximum(hertz, 1)) - self.pitch_mean) / self.pitch_deviation
        return np.stack([np.where(hertz > 0, level, 0), hertz > 0], axis=-1).astype(np.float32)


def scale_of(clips: Sequence[Clip]) -> Scale:
    """Mean and deviation over the given clips."""
    mel = np.concatenate([clip.mel for clip in clips[:400]]).astype(np.float32)
    hertz = np.concatenate([clip.pitch for clip in clips])
    logs = np.log(hertz[hertz > 0])
    return Scale(mel.mean(axis=0), mel.std(axis=0) + 0.1, float(logs.mean()), float(logs.std()))


@dataclass(frozen=True, slots=True)
class Voiced:
    """What the vocoder learns from one recording."""

    mel: Floats
    """[T, MELS] normalised: the recording's own, or the acoustic model's."""
    hertz: Floats
    """[T]."""
    pcm: NDArray[np.int16]
    """[T * HOP]."""


def vocoder_losses(
    network: FilterNetwork, recordings: list[Voiced], scale: Scale, *, batch: int = 12, frames: int = 64, seed: int = 17
) -> LossOf:
    """Random stretches of recordings, made again from mel and pitch."""
    drawn = stretches(recordings, scale, batch=batch, frames=frames, seed=seed)
    return lambda step: {"spectral": vocoder_loss(network, drawn(step))}


def stretches(
    recordings: Sequence[Voiced], scale: Scale, *, batch: int, frames: int = 64, seed: int = 17
) -> Callable[[int], tuple[Tensor, ...]]:
    """Number to the batch of it, always the same: mel [B, T, MELS], tone [B, T, 2], pulses, noise [B, N + HOP],
    recorded [B, N]. Raises ValueError where no recording is long enough."""
    long_enough = [recording for recording in recordings if len(recording.mel) > frames + 1]
    if not long_enough:
        raise ValueError(f"got no recording of more than {frames + 1} frames, expected one at least")

    def batch_of(number: int) -> tuple[Tensor, ...]:
        draw = np.random.default_rng([seed, number])
        rows = []
        for _ in range(batch):
            recording = long_enough[int(draw.integers(len(long_enough)))]
            start = int(draw.integers(len(recording.mel) - frames))
            hertz = recording.hertz[start : start + frames + 1]
            pulses, noise = Excitation(int(draw.integers(1 << 30)), float(draw.random())).next(hertz)
            samples = recording.pcm[start * HOP : (start + frames) * HOP].astype(np.float32) / np.float32(32767)
            rows.append((recording.mel[start : start + frames], scale.tone(hertz[:frames]), pulses, noise, samples))
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))

    return batch_of


def vocoder_loss(network: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    """Mean spectral loss of what `stretches` drew."""
    mel, tone, pulses, noise, recorded = batch
    harmonic, breath = (cepstra.float() for cepstra in network(mel, tone))  # Fourier transforms know no 16 bits
    return spectral_loss(*aligned(filtered(pulses, noise, harmonic, breath), recorded))


def aligned(made: Tensor, recorded: Tensor) -> tuple[Tensor, Tensor]:
    """Both on the recording's clock; the first frames, which lack the ringing of those before them, are left out."""
    return made[:, 2 * HOP + HOP // 2 :], recorded[:, 2 * HOP : -(HOP // 2)]
