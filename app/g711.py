"""G.711, the 8 kHz and one byte a sample of telephones, to PCM16 at REALTIME_RATE and back. Knows no session.

Source: ITU-T G.711 (11/88), tables 1 and 2: a sign, three bits of exponent, four of mantissa.
"""

from __future__ import annotations

import functools
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.audio import BYTES_PER_SAMPLE, REALTIME_RATE, Pcm16, Resampler
from app.errors import BadRequest

TELEPHONE_RATE = 8_000  # Hz
Law: TypeAlias = Literal["audio/pcmu", "audio/pcma"]


class FromPcm:
    """What arrives as PCM16 at REALTIME_RATE already."""

    def feed(self, data: bytes) -> Pcm16:
        """The same. Raises BadRequest for half a sample."""
        if len(data) % BYTES_PER_SAMPLE:
            raise BadRequest(f"got {len(data)} bytes of 16-bit audio, expected an even number", param="audio")
        return data


class FromTelephone:
    """One caller's G.711 stream to PCM16; keeps the filter's state between pieces."""

    def __init__(self, law: Law) -> None:
        self._levels = _levels(law)
        self._resampler = Resampler(TELEPHONE_RATE, REALTIME_RATE)

    def feed(self, data: bytes) -> Pcm16:
        """A byte a sample at TELEPHONE_RATE in, PCM16 at REALTIME_RATE out."""
        return self._resampler.feed(self._levels[np.frombuffer(data, np.uint8)].tobytes())


class ToTelephone:
    """One reply's PCM16 to G.711."""

    def __init__(self, law: Law) -> None:
        self._codes = _codes(law)
        self._resampler = Resampler(REALTIME_RATE, TELEPHONE_RATE)

    def feed(self, pcm: Pcm16, *, last: bool = False) -> bytes:
        """PCM16 at REALTIME_RATE in, what is ready of it out, a byte a sample; `last` gives the rest."""
        samples = np.frombuffer(self._resampler.feed(pcm, last=last), "<i2")
        coded: bytes = self._codes[samples.view("<u2")].tobytes()
        return coded


def line_of(format: Literal["audio/pcm"] | Law) -> FromPcm | FromTelephone:
    """What a caller's stream of a format is read by."""
    return FromPcm() if format == "audio/pcm" else FromTelephone(format)


@functools.cache
def _levels(law: Law) -> NDArray[np.int16]:
    """int16 [256]: the sample that each byte stands for."""
    byte = np.arange(256)
    code = ~byte if law == "audio/pcmu" else byte ^ 0x55  # lines send them inverted, for the sake of their clocks
    exponent, mantissa = code >> 4 & 7, code & 15
    if law == "audio/pcmu":
        size, negative = ((mantissa << 3) + 132 << exponent) - 132, code & 0x80 != 0
    else:
        above = (mantissa << 4) + 264 << np.maximum(exponent - 1, 0)
        size, negative = np.where(exponent > 0, above, (mantissa << 4) + 8), code & 0x80 == 0
    return np.where(negative, -size, size).astype("<i2")


@functools.cache
def _codes(law: Law) -> NDArray[np.uint8]:
    """uint8 [65536]: the byte whose level is nearest to each sample, by the sample's bits as an unsigned number."""
    levels, byte = np.unique(_levels(law)[::-1], return_index=True)  # reversed: of mu-law's two zeros the positive one
    sample = np.arange(65536).astype("<u2").view("<i2").astype(np.int32)
    middles = (levels[1:].astype(np.int32) + levels[:-1]) / 2
    return (255 - byte[np.searchsorted(middles, sample)]).astype(np.uint8)
