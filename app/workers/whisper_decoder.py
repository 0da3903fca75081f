"""A CTranslate2 Whisper from samples to words, one window at a time, blocking. Knows no caller, slot or event loop.

Driven directly, since faster-whisper's `transcribe()` pads every window to 30 s and gives no no-speech gate of its own.
Any Whisper folder works; only one that was trained on short windows may be given them.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.audio import HEARING_RATE, Waveform
from app.errors import BadRequest, PackError, WorkerError

WINDOW_SECONDS = 30.0
SHORT_WINDOW_SECONDS = 8.0  # the longest that a model trained on short windows is sure to have seen
WINDOW_FRAMES = 3000  # mel frames of 10 ms: what a stock Whisper's encoder was trained on
SHORTEST_SAMPLES = HEARING_RATE // 10  # less holds no word, and the STFT needs 400 samples
CUT_FROM = 2 / 3  # of a window: it is cut at its quietest place after this
QUIET_BLOCK = HEARING_RATE // 10
SILENT_PEAK = 1e-4  # 80 dB below full scale: no microphone is that quiet, so nobody speaks
PROMPT_TOKENS = 223  # half of Whisper's 448 positions, less one: openai/whisper decoding.py
POSITIONS = 448
TOKENS_PER_SECOND = 25  # more than anyone speaks, in any script; ends a decoder that repeats itself
SPARE_TOKENS = 16
FILES = ("model.bin", "config.json", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said in one window."""

    text: str
    tokens: int
    """Written by the decoder, the end among them; also where the words were then taken for noise."""
    log_probability: float
    """Sum over the tokens, nats."""
    no_speech_probability: float
    language: str = ""
    """That was given, or detected; empty where nothing was decoded."""


class WhisperDecoder:
    """One loaded model. `hear` may be called from one thread at a time."""

    def __init__(
        self,
        path: str,
        *,
        device: str,
        compute_type: str,
        threads: int,
        trained_short: bool,
        margin_seconds: float,
        beam_size: int,
        no_speech_threshold: float,
        min_confidence: float,
    ) -> None:
        """Loads a local folder or, by hub name, a model of faster-whisper. Raises PackError, WorkerError."""
        import ctranslate2
        import tokenizers
        from faster_whisper.feature_extractor import FeatureExtractor

        folder = _local_folder(path)
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder), device=device, compute_type=compute_type, intra_threads=threads
            )
            self._text = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises a bare Exception
            raise PackError(f"{folder} is not a CTranslate2 Whisper that can be loaded: {error}") from error
        self._extractor = FeatureExtractor(feature_size=self._model.n_mels)
        self._margin_frames = round(margin_seconds * 100) if trained_short else None
        self.window_samples = int((SHORT_WINDOW_SECONDS if trained_short else WINDOW_SECONDS) * HEARING_RATE)
        """Longest audio for one `hear`."""
        self._beam_size = beam_size
        self._no_speech_threshold = no_speech_threshold
        self._min_confidence = min_confidence
        self.multilingual: bool = self._model.is_multilingual
        self.device: str = self._model.device

    def hear(self, waveform: Waveform, language: str, prompt: str) -> Heard:
        """Words of at most a window; none where nobody speaks. `language` is BCP 47 or empty. Raises WorkerError."""
        if len(waveform) < SHORTEST_SAMPLES or float(np.abs(waveform).max()) < SILENT_PEAK:
            return Heard("", 0, 0.0, 1.0)
        import ctranslate2

        seconds = len(waveform) / HEARING_RATE
        try:
            features = ctranslate2.StorageView.from_array(self._features(waveform))
            tokenizer = self._tokenizer(features, language)
            given = self._prompt(tokenizer, prompt)
            longest = min(POSITIONS, len(given) + SPARE_TOKENS + round(TOKENS_PER_SECOND * seconds))
            result = self._model.generate(
                features,
                [given],
                beam_size=self._beam_size,
                max_length=longest,
                return_scores=True,
                return_no_speech_prob=True,
            )[0]
        except (RuntimeError, ValueError) as error:  # what CTranslate2 raises
            raise WorkerError(f"the recognizer failed on {seconds:.1f} s of audio: {error}") from error
        said = result.sequences_ids[0]
        # CTranslate2 divides the sum by the number of tokens that it wrote, the end not among them.
        log_probability = result.scores[0] * max(1, len(said))
        confidence = math.exp(log_probability / (len(said) + 1))
        if result.no_speech_prob > self._no_speech_threshold or confidence < self._min_confidence:
            text = ""
        else:
            text = str(tokenizer.decode(said)).strip()
        return Heard(text, len(said) + 1, log_probability, result.no_speech_prob, tokenizer.language_code)

    def check_language(self, language: str) -> None:
        """Raises BadRequest for a language that this model cannot hear."""
        code = _base(language)
        if not code:
            return
        known = self.multilingual and self._text.token_to_id(f"<|{code}|>") is not None
        if not known and code != "en":
            served = "that language" if self.multilingual else "anything but English"
            raise BadRequest(f"this recognizer does not hear {served}, got language {language!r}", param="language")

    def _features(self, waveform: Waveform) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Log-mel [1, mels, frames]: as long as the audio and a margin, or 30 s. Behind the audio stand zeros."""
        mel = self._extractor(waveform)[:, :WINDOW_FRAMES]
        wanted = WINDOW_FRAMES if self._margin_frames is None else mel.shape[1] + self._margin_frames
        wanted = min(WINDOW_FRAMES, wanted + wanted % 2)  # the encoder halves the frames
        padded = np.pad(mel, ((0, 0), (0, wanted - mel.shape[1])))
        return np.ascontiguousarray(padded[None], dtype=np.float32)

    def _tokenizer(self, features: Any, language: str) -> Any:
        """faster-whisper's tokenizer for the language; detected from the audio where none is given."""
        from faster_whisper.tokenizer import Tokenizer

        code = _base(language)
        if self.multilingual and not code:
            detected, _ = self._model.detect_language(features)[0][0]
            code = detected.strip("<|>")
        return Tokenizer(self._text, self.multilingual, task="transcribe", language=code or "en")

    def _prompt(self, tokenizer: Any, prompt: str) -> list[int]:
        """Ids up to <|notimestamps|>. Words to expect come first, but a model of short windows has never seen any."""
        start = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        if not prompt.strip() or self._margin_frames is not None:
            return start
        return [tokenizer.sot_prev, *tokenizer.encode(" " + prompt.strip())[-PROMPT_TOKENS:], *start]


def quiet_cut(waveform: Waveform, window_samples: int) -> int:
    """Where to cut more than a window: the sample amid the quietest tenth of a second of its last third."""
    first = int(CUT_FROM * window_samples)
    last = first + (window_samples - first) // QUIET_BLOCK * QUIET_BLOCK
    blocks = waveform[first:last].reshape(-1, QUIET_BLOCK)
    return first + int(np.argmin((blocks**2).mean(axis=1))) * QUIET_BLOCK + QUIET_BLOCK // 2


def _base(language: str) -> str:
    """`en` of `en-US`."""
    return language.split("-")[0].split("_")[0].lower()


def _local_folder(path: str) -> Path:
    """The folder itself, or where the hub's files were put. Raises PackError without a look-up for what is a path."""
    folder = Path(path)
    if folder.is_dir():
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise PackError(f"{folder} is not a CTranslate2 Whisper: it lacks {', '.join(missing)}")
        return folder
    if os.path.isabs(path) or path.startswith((".", "~")) or path.count("/") > 1 or os.sep != "/":
        raise PackError(f"there is no folder {path}; expected a CTranslate2 Whisper ({', '.join(FILES)})")
    from faster_whisper.utils import download_model

    try:
        return Path(download_model(path))
    except Exception as error:  # the hub's client raises of many kinds
        raise PackError(f"{path} is neither a folder nor a Whisper that the hub gives: {error}") from error
