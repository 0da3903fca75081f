"""G.711 against FFmpeg's codecs, and streams in pieces of any length."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest

from app.g711 import FromTelephone, Law, ToTelephone, _codes, _levels

CODECS = {"audio/pcmu": "pcm_mulaw", "audio/pcma": "pcm_alaw"}


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
def test_every_byte_stands_for_the_sample_that_ffmpeg_says(law: Law) -> None:
    decoder: Any = av.CodecContext.create(CODECS[law], "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"
    (frame,) = decoder.decode(av.Packet(bytes(range(256))))
    assert np.array_equal(_levels(law), frame.to_ndarray()[0])


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
def test_a_sample_becomes_the_nearest_level(law: Law) -> None:
    samples = np.arange(-32768, 32768).astype("<i2")
    back = _levels(law)[_codes(law)[samples.view("<u2")]].astype(np.int64)
    nearest = np.abs(samples[:, None].astype(np.int64) - np.unique(_levels(law))[None]).min(axis=1)
    assert np.array_equal(np.abs(samples - back), nearest)


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
def test_a_tone_survives_both_ways_in_pieces(law: Law) -> None:
    tone = (np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000) * 12_000).astype("<i2")
    out, back = ToTelephone(law), FromTelephone(law)
    line = b"".join(out.feed(tone[start : start + 1000].tobytes()) for start in range(0, 24_000, 1000))
    line += out.feed(b"", last=True)
    assert len(line) == 8000
    heard = np.frombuffer(b"".join(back.feed(line[start : start + 160]) for start in range(0, 8000, 160)), "<i2")
    level = np.abs(np.fft.rfft(heard[2000:22_000].astype(float)))
    assert np.argmax(level) == pytest.approx(440 * 20_000 / 24_000, abs=1)
    assert np.sqrt(np.mean(heard[2000:22_000].astype(float) ** 2)) == pytest.approx(12_000 / np.sqrt(2), rel=0.05)
