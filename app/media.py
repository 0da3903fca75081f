"""Audio files: decodes what callers upload, encodes what they download. Knows no route and no model.

PyAV (FFmpeg) does the work; it blocks, so callers on an event loop use asyncio.to_thread.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from app.audio import HEARING_RATE, Pcm16, Waveform
from app.errors import BadAudio, BadRequest

MAX_SECONDS: Final = 3600.0  # of decoded audio: 25 MB can unpack to days of silence; an hour at 16 kHz is 115 MB
CONTAINERS: Final = "wav,flac,mp3,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,aac,mpeg,aiff"
"""FFmpeg demuxers that may open an upload. Playlists (hls, concat, dash) are not among them: those open other files."""

CONTENT_TYPES: Final = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""Output formats and the Content-Type of each; clients choose their decoder by it."""


def decode(data: bytes) -> Waveform:
    """An uploaded file to float32 [samples] at HEARING_RATE. Raises BadAudio."""
    return decode_to(data, HEARING_RATE)


def decode_to(data: bytes, rate: int, *, max_seconds: float = MAX_SECONDS) -> Waveform:
    """The first audio track, mixed to mono, float32 [samples] at `rate` Hz; what is damaged is left out.

    Raises BadAudio for what is empty, no audio in one of CONTAINERS, longer than `max_seconds`, or has no samples.
    """
    if not data:
        raise BadAudio("The audio file is empty")
    pieces = []
    try:
        with av.open(io.BytesIO(data), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}) as file:
            for piece in _samples(file, rate, max_seconds):
                pieces.append(piece)
    except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        if not pieces:
            raise BadAudio(
                "The file is not audio that can be decoded; expected flac, mp3, mp4, ogg, wav or webm"
            ) from (error)
    if not pieces:
        raise BadAudio("The audio file has no samples")
    waveform: Waveform = np.concatenate(pieces).astype(np.float32)
    waveform /= 32768.0  # in place: an hour is 230 MB
    return waveform


def _samples(file: Any, rate: int, max_seconds: float) -> Iterator[NDArray[np.int16]]:
    """int16 [samples] of a container's first audio track, at `rate` Hz."""
    if not file.streams.audio:
        raise BadAudio("The file has no audio track")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    seconds = 0.0
    for packet in file.demux(file.streams.audio[0]):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # a damaged packet; the next one may be whole
        for frame in frames:
            seconds += frame.samples / max(frame.sample_rate, 1)
            if seconds > max_seconds:
                raise BadAudio(f"The audio is longer than {max_seconds:g} seconds")
            yield from (piece.to_ndarray()[0] for piece in resampler.resample(frame) if piece.samples)
    if seconds:
        yield from (piece.to_ndarray()[0] for piece in resampler.resample(None) if piece.samples)


class Encoder(Protocol):
    """One file in the making."""

    def feed(self, pcm: Pcm16) -> bytes:
        """PCM16 in, the bytes of the file that are ready out."""

    def finish(self) -> bytes:
        """The rest of the file; nothing may be fed after it."""


def open_encoder(name: str, rate: int) -> Encoder:
    """An encoder of one of CONTENT_TYPES for mono PCM16 at `rate` Hz. Raises BadRequest for another name."""
    if name == "pcm":
        return _Raw(b"")
    if name == "wav":
        return _Raw(wav_header(rate))
    if name in _COMPRESSED:
        return _Compressed(name, rate)
    raise BadRequest(
        f"response_format {name!r} is not supported; expected one of {', '.join(CONTENT_TYPES)}",
        param="response_format",
    )


def wav_header(rate: int) -> bytes:
    """The 44 bytes before mono PCM16 of unknown length: players read to the end of the stream."""
    unknown = b"\xff\xff\xff\xff"
    numbers = [(16, 4), (1, 2), (1, 2), (rate, 4), (rate * 2, 4), (2, 2), (16, 2)]  # PCM, mono, 16 bit
    layout = b"".join(value.to_bytes(width, "little") for value, width in numbers)
    return b"RIFF" + unknown + b"WAVEfmt " + layout + b"data" + unknown


class _Raw:
    """PCM as it is, after a header."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def feed(self, pcm: Pcm16) -> bytes:
        header, self._header = self._header, b""
        return header + pcm

    def finish(self) -> bytes:
        return self.feed(b"")


_COMPRESSED: Final[dict[str, tuple[str, str, dict[str, str]]]] = {
    # name -> (muxer, codec, muxer options). No Xing header: it is written last, at the start of the file.
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    "opus": ("ogg", "libopus", {"page_duration": "100000"}),  # microseconds: a page a tenth of a second
    "aac": ("adts", "aac", {}),
    "flac": ("flac", "flac", {}),
}


class _Sink(io.RawIOBase):
    """Collects what a muxer writes; cannot seek, so the muxer never goes back to fill in a length."""

    def __init__(self) -> None:
        self._ready = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._ready += data
        return len(data)

    def take(self) -> bytes:
        ready, self._ready = bytes(self._ready), bytearray()
        return ready


class _Compressed:
    """A codec and a muxer of FFmpeg."""

    def __init__(self, name: str, rate: int) -> None:
        muxer, codec, options = _COMPRESSED[name]
        self._rate = rate
        self._samples = 0
        self._stream: Any = None
        self._sink = _Sink()
        self._file: Any = av.open(self._sink, "w", format=muxer, options={"flush_packets": "1", **options})
        try:
            self._stream = self._file.add_stream(codec, rate=rate, layout="mono")
            if name == "mp3":
                self._stream.bit_rate = 64_000  # FFmpeg's default for mono at 24 kHz, 32 kbit/s, is heard
        except (ValueError, av.FFmpegError) as error:  # av.codec.codec.UnknownCodecError is a ValueError
            raise BadRequest(f"This build of FFmpeg cannot write {name}", param="response_format") from error

    def feed(self, pcm: Pcm16) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2")
        if samples.size:
            frame: Any = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = self._rate
            frame.pts = self._samples
            self._samples += samples.size
            self._file.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        if self._samples:
            self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._sink.take()
