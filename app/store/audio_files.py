"""Kept audio as files. Knows no database."""

from __future__ import annotations

import io
import wave

from app.audio import BYTES_PER_SAMPLE, Pcm16


def wav(pcm: Pcm16, rate: int) -> bytes:
    """A whole file of PCM16, mono, `rate` in hertz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(BYTES_PER_SAMPLE)
        out.setframerate(rate)
        out.writeframes(pcm)
    return file.getvalue()
