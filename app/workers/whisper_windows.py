"""Audio to windows ready for a Whisper's encoder: cut, log-mel, padded. Knows no model, batch or caller.

A window's padding depends on its own length alone, and only windows of equal length share a batch: CTranslate2 has no
mask for padding, so this is what makes a window's text the same in every company: with int8 weights to the last bit, in
floating point but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.audio import BYTES_PER_SAMPLE, HEARING_RATE, Pcm16, Waveform, to_waveform

WINDOW_SECONDS = 30
SHORT_WINDOW_SECONDS = 8  # the longest that a model trained on short windows is sure to have seen
WINDOW_FRAMES = 3000  # mel frames of 10 ms: what a stock Whisper's encoder was trained on
STEP_FRAMES = 100  # short windows are padded up to whole seconds, so that many callers' have a length in common
SHORTEST_SAMPLES = HEARING_RATE // 10  # less holds no word, and the STFT needs 400 samples
SILENT_PEAK = 1e-4  # 80 dB below full scale: no microphone is that quiet, so nobody speaks
CUT_FROM = 2 / 3  # of a window: it is cut at its quietest place after this
QUIET_BLOCK = HEARING_RATE // 10
TOKENS_PER_SECOND = 25  # more than anyone speaks, in any script; ends a decoder that repeats itself
SPARE_TOKENS = 16
LONGEST = 224  # tokens: half of Whisper's 448 positions, as in openai/whisper's decoding.py
LIMIT_STEP_SECONDS = 5  # padded windows within 5 s of each other have the same limit of tokens, and share batches


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller asks of an utterance."""

    language: str = ""
    """Whisper's code; empty: detect it."""
    context: tuple[int, ...] = ()
    """Hot words and earlier text as token ids, <|startofprev|> first."""
    word_times: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """Audio made ready for the encoder."""

    asked: Asked
    waveform: Waveform
    features: NDArray[np.float32]
    """Log-mel [mels, frames], zeros behind the audio; no frames where nobody can have spoken."""
    audio_frames: int
    """Of `frames`, those that hold audio."""
    longest: int
    """Tokens after which the decoder is stopped."""

    @property
    def seconds(self) -> float:
        """Of audio."""
        return len(self.waveform) / HEARING_RATE

    @property
    def frames(self) -> int:
        """Encoder input of 10 ms, padding included."""
        return int(self.features.shape[1])

    @property
    def kind(self) -> tuple[int, int, int]:
        """What CTranslate2 needs equal in a batch, and what would change a text if it were not."""
        return self.frames, len(self.asked.context), self.longest


class Windows:
    """Makes windows for one model; may be shared by threads."""

    def __init__(self, mels: int, margin_frames: int | None) -> None:
        """`margin_frames` of zeros at least stand behind the audio; None for a model that knows only 30 s."""
        from faster_whisper.feature_extractor import FeatureExtractor

        self._extractor: Any = FeatureExtractor(feature_size=mels)
        self._mels = mels
        self._margin_frames = margin_frames
        self._longest_samples = HEARING_RATE * (WINDOW_SECONDS if margin_frames is None else SHORT_WINDOW_SECONDS)

    def of(self, audio: Pcm16, asked: Asked) -> list[Window]:
        """One window, or more of long audio; more audio behind it changes none but the last."""
        waveform = to_waveform(audio[: len(audio) - len(audio) % BYTES_PER_SAMPLE])
        windows = []
        while len(waveform) > self._longest_samples:
            cut = quiet_cut(waveform, self._longest_samples)
            windows.append(self._window(waveform[:cut], asked))
            waveform = waveform[cut:]
        return [*windows, self._window(waveform, asked)]

    def _window(self, waveform: Waveform, asked: Asked) -> Window:
        if len(waveform) < SHORTEST_SAMPLES or float(np.abs(waveform).max()) < SILENT_PEAK:
            return Window(asked, waveform, np.zeros((self._mels, 0), np.float32), 0, 0)
        mel = self._extractor(waveform)[:, :WINDOW_FRAMES]
        audio_frames = mel.shape[1]
        if self._margin_frames is None:
            frames = WINDOW_FRAMES
            seconds = _up(len(waveform), LIMIT_STEP_SECONDS * HEARING_RATE) // HEARING_RATE
        else:
            frames = min(WINDOW_FRAMES, _up(audio_frames + self._margin_frames, STEP_FRAMES))
            seconds = frames // 100
        features = np.zeros((self._mels, frames), np.float32)
        features[:, :audio_frames] = mel
        return Window(asked, waveform, features, audio_frames, min(LONGEST, SPARE_TOKENS + TOKENS_PER_SECOND * seconds))


def quiet_cut(waveform: Waveform, window_samples: int) -> int:
    """Where to cut more than a window: the sample amid the quietest tenth of a second of its last third."""
    first = int(CUT_FROM * window_samples)
    last = first + (window_samples - first) // QUIET_BLOCK * QUIET_BLOCK
    blocks = waveform[first:last].reshape(-1, QUIET_BLOCK)
    return first + int(np.argmin((blocks**2).mean(axis=1))) * QUIET_BLOCK + QUIET_BLOCK // 2


def _up(number: int, step: int) -> int:
    """The next multiple."""
    return -(-number // step) * step
