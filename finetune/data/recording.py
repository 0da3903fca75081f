"""Recordings on disk to samples. Knows no manifest.

libsndfile reads what corpora are made of, at its own rate; what it cannot (m4a, webm) goes through FFmpeg.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from app.audio import HEARING_RATE, Waveform
from app.errors import BadAudio
from app.media import decode_to


@dataclass(frozen=True, slots=True)
class Recording:
    """Samples of a file."""

    waveform: Waveform
    """float32 [samples], mono, -1..1."""
    rate: int
    """Hertz."""
    channels: int
    """Of the file; they have been mixed."""

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.waveform) / self.rate


def decode(data: bytes, start_s: float = 0.0, end_s: float | None = None) -> Recording:
    """A file's bytes, or the part between two seconds of it. Raises BadAudio."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, channels = file.samplerate, file.channels
            file.seek(min(round(start_s * rate), file.frames))
            samples = file.read(
                -1 if end_s is None else round((end_s - start_s) * rate), dtype="float32", always_2d=True
            )
    except (soundfile.LibsndfileError, RuntimeError):
        waveform = decode_to(data, HEARING_RATE)
        end = None if end_s is None else round(end_s * HEARING_RATE)
        samples, rate, channels = waveform[round(start_s * HEARING_RATE) : end, np.newaxis], HEARING_RATE, 1
    if not len(samples):
        raise BadAudio(f"The audio has no samples between {start_s:g} s and {'its end' if end_s is None else end_s}")
    return Recording(np.ascontiguousarray(samples.mean(axis=1)), rate, channels)


def encode(waveform: Waveform, rate: int) -> bytes:
    """float32 [samples] as a FLAC file of 16 bits."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, waveform, rate, format="FLAC", subtype="PCM_16")
    return out.getvalue()
