"""Recordings to log-mel features, by the service's own code, so that what is heard in training is what is served.

Knows no model and no text. Shapes: M mel bands, T frames of 10 ms.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.audio import HEARING_RATE, Pcm16, Waveform, resample, to_pcm16, to_waveform
from app.workers.whisper_windows import SHORTEST_SAMPLES, STEP_FRAMES, WINDOW_FRAMES
from finetune.data import recording
from finetune.data.augment import Augmentation, augment
from finetune.data.augmenting import noise_files
from finetune.data.rows import Utterance
from finetune.data.spec_augment import spec_augment
from finetune.recipes.recognizer_config import Config

Mel: TypeAlias = NDArray[np.float32]

KEPT_BYTES = 4 << 30
"""Of features in memory, as float16: about 70 hours with 80 bands. Beyond it they are computed again."""
QUIETEST, LOUDEST = 1e-3, 0.1
"""Deviation of noise that is made up; full scale is 1."""


def pcm_of(row: Utterance) -> Pcm16:
    """A clip at HEARING_RATE; its `audio` is a path. Raises BadAudio."""
    return to_pcm16(_waveform(row))


class Features:
    """Features of clips in training; the same (clip, epoch) has the same ones."""

    def __init__(self, config: Config, mels: int) -> None:
        from faster_whisper.feature_extractor import FeatureExtractor

        self._extractor: Any = FeatureExtractor(feature_size=mels)
        self._config = config
        self._seed = config.training.seed
        self._effects = Augmentation(noises=noise_files(Path(config.augment.noise) if config.augment.noise else None))
        self._kept: dict[tuple[str, float], NDArray[np.float16]] = {}
        self._bytes = 0

    def of(self, row: Utterance, epoch: int) -> Mel:
        """[M, T] of a clip as it is heard in an epoch, without padding."""
        chance = random.Random(f"recognizer/{self._seed}/{row.id}/{epoch}")
        if chance.random() < self._config.augment.share:
            waveform = augment(_waveform(row), HEARING_RATE, self._effects, seed=self._seed, id=row.id, epoch=epoch)
            mel = self._mel(to_pcm16(waveform)).astype(np.float32)
        else:
            mel = self._clean(row).astype(np.float32)
        if chance.random() < self._config.spec_augment:
            mel = spec_augment(mel, seed=self._seed, id=row.id, epoch=epoch)
        return mel

    def silence(self, seconds: float, name: str) -> Mel:
        """[M, T] of noise with nobody in it; the same name gives the same."""
        chance = np.random.default_rng([self._seed, *name.encode()])
        white = chance.standard_normal(max(SHORTEST_SAMPLES, round(seconds * HEARING_RATE)))
        bright = chance.uniform(0.0, 1.0)  # 0: every sample is mostly what the last one was, as in a hum or a room
        spectrum = np.fft.rfft(white)
        spectrum /= np.maximum(1.0, np.arange(len(spectrum))) ** (1.0 - bright)
        coloured = np.fft.irfft(spectrum, len(white))
        level = np.exp(chance.uniform(np.log(QUIETEST), np.log(LOUDEST)))
        return self._mel(to_pcm16((coloured / coloured.std() * level).astype(np.float32))).astype(np.float32)

    def _clean(self, row: Utterance) -> NDArray[np.float16]:
        mel = self._kept.get((row.audio, row.start_s))
        if mel is None:
            mel = self._mel(pcm_of(row))
            if self._bytes + mel.nbytes <= KEPT_BYTES:
                self._kept[row.audio, row.start_s] = mel
                self._bytes += mel.nbytes
        return mel

    def _mel(self, pcm: Pcm16) -> NDArray[np.float16]:
        """In half precision wherever it goes, so that it does not matter which clips are kept."""
        waveform = to_waveform(pcm)
        waveform = np.pad(waveform, (0, max(0, SHORTEST_SAMPLES - len(waveform))))
        mel: NDArray[np.float16] = self._extractor(waveform)[:, :WINDOW_FRAMES].astype(np.float16)
        return mel


def _waveform(row: Utterance) -> Waveform:
    heard = recording.decode(Path(row.audio).read_bytes(), row.start_s, row.end_s)
    return resample(heard.waveform, heard.rate, HEARING_RATE)


def padded_frames(longest: int, config: Config, whole: bool) -> int:
    """How many frames the encoder sees of a batch: as the service pads its longest clip, or 30 s."""
    if whole or config.audio_context == "full":
        return WINDOW_FRAMES
    frames = longest + round(config.margin_seconds * 100)
    return min(WINDOW_FRAMES, -(-frames // STEP_FRAMES) * STEP_FRAMES)
