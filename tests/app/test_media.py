"""Uploads of every container, hostile ones too, and downloads that can be played before they are whole."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from app.audio import HEARING_RATE, REALTIME_RATE, Waveform, to_pcm16
from app.errors import BadAudio, BadRequest
from app.media import CONTENT_TYPES, decode, decode_to, open_encoder, wav_header

SECONDS = 1.5
HERTZ = 440.0
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="Debian's ffmpeg is not installed")


def tone(rate: int, seconds: float = SECONDS, hertz: float = HERTZ) -> Waveform:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def pitch(waveform: Waveform, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform))
    return float(np.argmax(spectrum) * rate / len(waveform))


def encoded(name: str, waveform: Waveform, rate: int = REALTIME_RATE, piece: int = 1201) -> list[bytes]:
    encoder = open_encoder(name, rate)
    parts = [encoder.feed(to_pcm16(waveform[start : start + piece])) for start in range(0, len(waveform), piece)]
    return [*parts, encoder.finish()]


@pytest.mark.parametrize("name", [name for name in CONTENT_TYPES if name != "pcm"])
def test_what_is_encoded_decodes_to_the_same_tone(name: str) -> None:
    parts = encoded(name, tone(REALTIME_RATE))
    heard = decode(b"".join(parts))
    assert heard.dtype == np.float32
    assert len(heard) / HEARING_RATE == pytest.approx(SECONDS, abs=0.08)  # codecs pad to whole frames
    assert pitch(heard, HEARING_RATE) == pytest.approx(HERTZ, abs=2)
    assert 0.25 < np.abs(heard[HEARING_RATE // 4 : -HEARING_RATE // 4]).max() < 0.36


@pytest.mark.parametrize("name", list(CONTENT_TYPES))
def test_encoding_streams(name: str) -> None:
    parts = encoded(name, tone(REALTIME_RATE))
    tenth = len(parts) // 10
    assert any(parts[: 2 * tenth]), "nothing came out in the first fifth"
    assert sum(map(len, parts[: len(parts) // 2])) > 0.35 * sum(map(len, parts))


@pytest.mark.parametrize("name", list(CONTENT_TYPES))
def test_a_file_of_no_samples_ends_without_error(name: str) -> None:
    assert open_encoder(name, REALTIME_RATE).finish() == (wav_header(REALTIME_RATE) if name == "wav" else b"")


def test_pcm_is_what_was_fed_and_wav_has_a_header_before_it() -> None:
    pcm = to_pcm16(tone(REALTIME_RATE))
    assert b"".join(encoded("pcm", tone(REALTIME_RATE))) == pcm
    with wave.open(io.BytesIO(b"".join(encoded("wav", tone(REALTIME_RATE))))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (REALTIME_RATE, 1, 2)
        assert file.readframes(10**6) == pcm


def test_unknown_format_is_refused_with_the_choices() -> None:
    with pytest.raises(BadRequest, match="'midi' is not supported; expected one of mp3, opus"):
        open_encoder("midi", REALTIME_RATE)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"])
def test_every_container_that_openai_takes(suffix: str, tmp_path: Path) -> None:
    source = tmp_path / "source.wav"
    source.write_bytes(b"".join(encoded("wav", tone(44_100), 44_100)))
    target = tmp_path / f"target.{suffix}"
    muxer = ["-f", "mp3"] if suffix == "mpga" else []
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-ac", "2", *muxer, target], check=True)
    heard = decode(target.read_bytes())
    assert len(heard) / HEARING_RATE == pytest.approx(SECONDS, abs=0.1)
    assert pitch(heard, HEARING_RATE) == pytest.approx(HERTZ, abs=2)


def test_stereo_is_mixed_and_resampled() -> None:
    left, right = tone(48_000), np.zeros(int(48_000 * SECONDS), np.float32)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(to_pcm16(np.stack([left, right], axis=1).reshape(-1)))
    heard = decode_to(buffer.getvalue(), 24_000)
    assert len(heard) == pytest.approx(24_000 * SECONDS, abs=10)
    assert pitch(heard, 24_000) == pytest.approx(HERTZ, abs=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\0" * 10_000, "not audio"),
        (b"this is a letter, not a recording" * 99, "not audio"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "not audio"),
        (b"RIFF", "not audio"),
        (wav_header(16_000), "no samples"),
        (wav_header(0) + b"ab" * 999, "not audio"),
        (wav_header(2**31 - 1) + b"ab" * 999, "not audio"),
        (b"".join(encoded("flac", tone(REALTIME_RATE)))[:60], "not audio"),
    ],
)
def test_what_is_no_audio_is_told_so(data: bytes, message: str) -> None:
    with pytest.raises(BadAudio, match=message):
        decode(data)


def test_a_truncated_file_gives_what_is_whole() -> None:
    data = b"".join(encoded("mp3", tone(REALTIME_RATE)))
    heard = decode(data[: len(data) // 2])
    assert 0.4 * SECONDS < len(heard) / HEARING_RATE < 0.6 * SECONDS


def test_damage_in_the_middle_costs_only_its_part() -> None:
    data = bytearray(b"".join(encoded("mp3", tone(REALTIME_RATE, 4.0))))
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    heard = decode(bytes(data))
    assert len(heard) / HEARING_RATE > 3.5


def test_a_compression_bomb_is_stopped() -> None:
    silence = np.zeros(60 * REALTIME_RATE, np.float32)
    bomb = b"".join(encoded("flac", silence, piece=REALTIME_RATE))
    assert len(bomb) < 0.02 * 2 * len(silence)
    with pytest.raises(BadAudio, match="longer than 10 seconds"):
        decode_to(bomb, HEARING_RATE, max_seconds=10.0)
    slow = wav_header(1) + b"\0\0" * 10_000  # 10,000 seconds in 20 kB
    with pytest.raises(BadAudio, match="longer than 3600 seconds"):
        decode(slow)


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile {name}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
)
def test_a_playlist_opens_no_other_file(playlist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"".join(encoded("wav", tone(REALTIME_RATE))))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadAudio):
        decode(playlist.format(name=secret.name, path=secret).encode())
