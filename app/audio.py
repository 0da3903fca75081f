"""PCM16 and sample rates: codec, resampler, frame constants. Knows nothing of files, sockets or models.

PCM16 is signed 16-bit little-endian mono, held in `bytes`; a waveform is float32 [samples] in -1..1.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from app.errors import BadAudio

Pcm16: TypeAlias = bytes
Waveform: TypeAlias = NDArray[np.float32]

HEARING_RATE = 16_000  # Hz: Whisper, Silero VAD and PocketSphinx are all trained at this rate
REALTIME_RATE = 24_000  # Hz: OpenAI Realtime's only audio/pcm rate
BYTES_PER_SAMPLE = 2
FRAME_SAMPLES = 512  # at HEARING_RATE: 32 ms, the window that Silero VAD v5 and later are trained on
FRAME_SECONDS = FRAME_SAMPLES / HEARING_RATE  # 0.032


def to_waveform(pcm: Pcm16) -> Waveform:
    """PCM16 to float32 [samples]. Raises BadAudio on an odd number of bytes."""
    if len(pcm) % BYTES_PER_SAMPLE:
        raise BadAudio(f"got {len(pcm)} bytes of PCM16, expected an even number")
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0


def to_pcm16(waveform: Waveform) -> Pcm16:
    """Float32 [samples] to PCM16; values beyond -1..1 are clipped."""
    return (np.clip(waveform, -1.0, 32767 / 32768) * 32768.0).round().astype("<i2").tobytes()


def seconds_of(pcm: Pcm16, rate: int) -> float:
    """Duration of PCM16 at `rate` Hz."""
    return len(pcm) / BYTES_PER_SAMPLE / rate


def resample(waveform: Waveform, source_rate: int, target_rate: int) -> Waveform:
    """A whole recording from one rate to another; a stream needs `Resampler`."""
    if source_rate == target_rate:
        return waveform
    resampled: Waveform = soxr.resample(waveform, source_rate, target_rate, quality="HQ").astype(np.float32)
    return resampled


class Resampler:
    """One direction of one stream; keeps the filter's state, so that chunk borders do not click."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
        # Quick quality: its filter delays a stream by about 1 ms, HQ by more than 10 ms at these rates, and
        # speech below 8 kHz loses nothing audible.
        self._stream = (
            None
            if source_rate == target_rate
            else soxr.ResampleStream(source_rate, target_rate, 1, dtype="int16", quality="QQ")
        )

    def feed(self, pcm: Pcm16, *, last: bool = False) -> Pcm16:
        """PCM16 at the source rate in, what is ready of it at the target rate out; `last` flushes the filter."""
        if len(pcm) % BYTES_PER_SAMPLE:
            raise BadAudio(f"got {len(pcm)} bytes of PCM16, expected an even number")
        if self._stream is None:
            return pcm
        samples = np.frombuffer(pcm, dtype="<i2")
        resampled: bytes = self._stream.resample_chunk(samples, last=last).tobytes()  # int16, as it was made for
        return resampled
