"""Recordings made harder: noise from files, rooms, speed, pitch, codecs. Seeded by (seed, id, epoch), on any machine.

The same three always give the same samples, so that a run which was killed goes on as if it had not been. Rooms are
pyroomacoustics', pitch is Signalsmith Stretch, codecs are FFmpeg's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from app.audio import Waveform, resample, to_pcm16
from app.media import decode_to, open_encoder
from finetune.data import recording
from finetune.data.errors import DataError

CODECS = ("mp3", "opus", "telephone")
CODEC_RATE = 16_000  # Hz: a rate that both mp3 and opus take
TELEPHONE_RATE = 8000
MU = 255  # G.711 mu-law


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often each effect comes, 0..1, and in which range."""

    speed: float = 0.5
    speed_factor: tuple[float, float] = (0.9, 1.1)
    """Pitch moves with it, as on a tape (Ko and others, "Audio augmentation for speech recognition", 2015)."""
    pitch: float = 0.2
    pitch_semitones: tuple[float, float] = (-2.0, 2.0)
    room: float = 0.3
    room_seconds: tuple[float, float] = (0.15, 0.5)
    """Time in which the echo falls by 60 dB."""
    noise: float = 0.5
    """Only where there are noise files."""
    noise_db: tuple[float, float] = (5.0, 30.0)
    """Speech over noise."""
    codec: float = 0.2
    noises: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in ("speed", "pitch", "room", "noise", "codec"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name}: got {getattr(self, name)}, expected a probability, 0 to 1")


def augment(waveform: Waveform, rate: int, settings: Augmentation, *, seed: int, id: str, epoch: int) -> Waveform:
    """float32 [samples] at `rate` Hz in and out; the length changes with speed alone."""
    rng = random.Random(f"{seed}/{id}/{epoch}")  # a text's hash is the same in every process
    if rng.random() < settings.speed:
        waveform = change_speed(waveform, rate, rng.uniform(*settings.speed_factor))
    if rng.random() < settings.pitch:
        waveform = change_pitch(waveform, rate, rng.uniform(*settings.pitch_semitones))
    if rng.random() < settings.room:
        waveform = reverberate(waveform, rate, rng.uniform(*settings.room_seconds), rng)
    if settings.noises and rng.random() < settings.noise:
        waveform = add_noise(waveform, rate, rng.choice(settings.noises), rng.uniform(*settings.noise_db), rng)
    if rng.random() < settings.codec:
        waveform = through_codec(waveform, rate, rng.choice(CODECS))
    return _limited(waveform)


def effects(noises: Sequence[Path]) -> dict[str, Callable[[Waveform, int], Waveform]]:
    """Each effect alone and strong, by name, to be listened to."""
    found: dict[str, Callable[[Waveform, int], Waveform]] = {
        "speed": lambda waveform, rate: change_speed(waveform, rate, 1.1),
        "pitch": lambda waveform, rate: change_pitch(waveform, rate, 2.0),
        "room": lambda waveform, rate: reverberate(waveform, rate, 0.5, random.Random(0)),
        **{codec: partial(through_codec, codec=codec) for codec in CODECS},
    }
    if noises:
        found["noise"] = lambda waveform, rate: add_noise(waveform, rate, noises[0], 5.0, random.Random(0))
    return found


def change_speed(waveform: Waveform, rate: int, factor: float) -> Waveform:
    """Played `factor` times as fast; pitch moves with it."""
    return resample(waveform, round(rate * factor), rate)


def change_pitch(waveform: Waveform, rate: int, semitones: float) -> Waveform:
    """Higher by `semitones`, as long as before."""
    from python_stretch.Signalsmith import Stretch

    stretch = Stretch()
    stretch.preset(1, rate)
    stretch.setTransposeSemitones(semitones)
    shifted: Waveform = np.asarray(stretch.process(waveform[np.newaxis]), dtype=np.float32)[0]
    return _fitted(shifted, len(waveform))


def reverberate(waveform: Waveform, rate: int, seconds: float, rng: random.Random) -> Waveform:
    """In a box of a room with speaker and microphone anywhere in it (image sources); as long and as loud as before."""
    import pyroomacoustics

    size = [rng.uniform(3, 8), rng.uniform(3, 6), rng.uniform(2.4, 3.2)]
    places = [[rng.uniform(0.5, side - 0.5) for side in size] for _ in range(2)]
    absorption, order = pyroomacoustics.inverse_sabine(max(seconds, 0.15), size)
    room = pyroomacoustics.ShoeBox(
        size, fs=rate, materials=pyroomacoustics.Material(absorption), max_order=min(order, 12)
    )
    room.add_source(places[0])
    room.add_microphone(places[1])
    room.compute_rir()
    response = np.asarray(room.rir[0][0])
    direct = int(np.argmax(np.abs(response)))  # the way through the air is no delay that labels should have
    heard = fftconvolve(waveform, response[max(0, direct - 8) :])[: len(waveform)]
    return np.asarray(heard * (_power(waveform) / (_power(heard) + 1e-9)), dtype=np.float32)


def add_noise(waveform: Waveform, rate: int, noise: Path, snr_db: float, rng: random.Random) -> Waveform:
    """A part of a noise file, repeated where it is short, at `snr_db` below the speech."""
    sound = _noise(noise, rate)
    start = rng.randrange(len(sound))
    part = np.resize(np.roll(sound, -start), len(waveform))
    return np.asarray(waveform + part * (_power(waveform) / (_power(part) + 1e-9) * 10 ** (-snr_db / 20)), np.float32)


def through_codec(waveform: Waveform, rate: int, codec: str) -> Waveform:
    """As it comes out of one of CODECS; as long as before."""
    if codec == "telephone":  # G.711: 8 kHz, 8 bits by mu-law
        narrow = np.clip(resample(waveform, rate, TELEPHONE_RATE), -1, 1)
        pressed = np.sign(narrow) * np.log1p(MU * np.abs(narrow)) / np.log1p(MU)
        steps = np.round(pressed * 127) / 127
        back = np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU
        return _fitted(resample(back.astype(np.float32), TELEPHONE_RATE, rate), len(waveform))
    encoder = open_encoder(codec, CODEC_RATE)
    data = encoder.feed(to_pcm16(resample(waveform, rate, CODEC_RATE))) + encoder.finish()
    return _fitted(decode_to(data, rate), len(waveform))


@lru_cache(maxsize=256)
def _noise(path: Path, rate: int) -> Waveform:
    found = recording.decode(path.read_bytes())
    return resample(found.waveform, found.rate, rate)


def _power(waveform: np.ndarray[tuple[int], np.dtype[np.floating]]) -> float:
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))


def _fitted(waveform: Waveform, samples: int) -> Waveform:
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def _limited(waveform: Waveform) -> Waveform:
    """Scaled down where it is beyond full scale: cut tops would be a fault of our own making."""
    peak = float(np.abs(waveform).max(initial=0.0))
    return waveform if peak <= 1 else np.asarray(waveform / peak, dtype=np.float32)
