"""A CTranslate2 Whisper from windows to words, several at a time, blocking. Knows no caller, slot or event loop.

Driven directly, since faster-whisper's `transcribe()` takes one caller at a time, pads every window to 30 s and gives
no no-speech gate of its own. Any Whisper folder works; only one that was trained on short windows may be given them.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import BadRequest, PackError, WorkerError
from app.workers.base import Word
from app.workers.whisper_filter import is_hallucination, plain
from app.workers.whisper_windows import Asked, Window, Windows
from app.workers.whisper_words import aligned_words, has_alignment_heads, spread_words

POSITIONS = 448
CONTEXT_TOKENS = 223  # half of them, less one: openai/whisper decoding.py
HOT_WORD_TOKENS = CONTEXT_TOKENS // 2  # the rest is for the prompt
FILES = ("model.bin", "config.json", "tokenizer.json")
LANGUAGE_NAMES = {"jv": "jw", "nb": "no", "fil": "tl"}  # BCP 47 -> Whisper, where they differ


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
    words: tuple[Word, ...] = ()
    """Seconds from the window's start; only where they were asked for."""


SILENCE = Heard("", 0, 0.0, 1.0)


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
        hallucinations: Collection[str],
        hallucination_confidence: float,
        max_compression: float,
        stand_ins: Mapping[str, str],
    ) -> None:
        """Loads a local folder or, by hub name, a model of faster-whisper. Raises PackError, WorkerError.

        `stand_ins`: language, BCP 47, to Whisper's code whose token the model was trained to read for it.
        """
        import ctranslate2
        import tokenizers

        folder = _local_folder(path)
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder), device=device, compute_type=compute_type, intra_threads=threads
            )
            self._text = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._aligns = has_alignment_heads(folder)
        except Exception as error:  # tokenizers raises a bare Exception
            raise PackError(f"{folder} is not a CTranslate2 Whisper that can be loaded: {error}") from error
        self._trained_short = trained_short
        self.windows = Windows(self._model.n_mels, round(margin_seconds * 100) if trained_short else None)
        """What `hear` takes."""
        self._beam_size = beam_size
        self._no_speech_threshold = no_speech_threshold
        self._min_confidence = min_confidence
        self._phrases = frozenset(plain(phrase) for phrase in hallucinations)
        self._hallucination_confidence = hallucination_confidence
        self._max_compression = max_compression
        self._tokenizers: dict[str, Any] = {}
        self.multilingual: bool = self._model.is_multilingual
        self.device: str = self._model.device
        self.compute_type: str = self._model.compute_type
        self._stand_ins = {whisper_code(language): code for language, code in stand_ins.items()}
        for code in self._stand_ins.values():
            if self._text.token_to_id(f"<|{code}|>") is None:
                raise PackError(f"{folder} has no token of language {code!r}, which [recognizer] language_token names")

    def asked(self, language: str, prompt: str, hot_words: str, word_times: bool) -> Asked:
        """The request as the model takes it; `language` is BCP 47 or empty. Raises BadRequest.

        Hot words stand before the earlier text, as in faster-whisper. A model trained on short windows is given
        neither: the starter has never seen any, and loses the caller's words over them.
        """
        code = self._code(language)
        words, before = hot_words.strip(), prompt.strip()
        if self._trained_short or not (words or before):
            return Asked(code, (), word_times)
        tokenizer = self._tokenizer(code or "en")
        context = tokenizer.encode(" " + words)[:HOT_WORD_TOKENS] if words else []
        if before:
            context += tokenizer.encode(" " + before)[-(CONTEXT_TOKENS - len(context)) :]
        return Asked(code, (tokenizer.sot_prev, *context), word_times)

    def hear(self, windows: Sequence[Window]) -> list[Heard]:
        """Words of windows of one kind that have frames; none where nobody speaks. Raises WorkerError."""
        import ctranslate2

        try:
            features = np.stack([window.features for window in windows])  # [B, mels, T]
            encoded = self._model.encode(ctranslate2.StorageView.from_array(features))  # [B, T / 2, D]
            languages = self._languages(windows, encoded)
            starts = [[*self._tokenizer(code).sot_sequence, self._tokenizer(code).no_timestamps] for code in languages]
            prompts = [[*window.asked.context, *start] for window, start in zip(windows, starts, strict=True)]
            given, longest = len(prompts[0]), windows[0].longest
            # CTranslate2 stops at half of max_length, or at what the prompt less its last token leaves of it.
            most = min(POSITIONS, max(2 * longest, longest + given - 1))
            results = self._model.generate(
                encoded,
                prompts,
                beam_size=self._beam_size,
                max_length=most,
                return_scores=True,
                return_no_speech_prob=True,
            )
            heard = [
                self._heard(result, language, min(most // 2, most - given + 1))
                for language, result in zip(languages, results, strict=True)
            ]
            if any(window.asked.word_times for window in windows):
                heard = self._timed(windows, encoded, heard, [result.sequences_ids[0] for result in results])
        except (RuntimeError, ValueError) as error:  # what CTranslate2 raises
            seconds = max(window.seconds for window in windows)
            raise WorkerError(f"the recognizer failed on {seconds:.1f} s of audio: {error}") from error
        return heard

    def _languages(self, windows: Sequence[Window], encoded: Any) -> list[str]:
        """One code a window; detected for those that name none."""
        codes = [window.asked.language for window in windows]
        if not self.multilingual:
            return ["en"] * len(codes)
        if all(codes):
            return codes
        detected = [ranked[0][0].strip("<|>") for ranked in self._model.detect_language(encoded)]
        return [code or found for code, found in zip(codes, detected, strict=True)]

    def _heard(self, result: Any, language: str, longest: int) -> Heard:
        said = result.sequences_ids[0]
        # CTranslate2 divides the sum by the number of tokens that it wrote, the end not among them.
        log_probability = result.scores[0] * max(1, len(said))
        confidence = math.exp(log_probability / (len(said) + 1))
        text = str(self._tokenizer(language).decode(said)).strip()
        if (
            result.no_speech_prob > self._no_speech_threshold
            or confidence < self._min_confidence
            or is_hallucination(
                text,
                confidence * (1 - result.no_speech_prob),
                ended=len(said) < longest,
                phrases=self._phrases,
                sure_from=self._hallucination_confidence,
                most_compression=self._max_compression,
            )
        ):
            text = ""
        return Heard(text, len(said) + 1, log_probability, result.no_speech_prob, language)

    def _timed(
        self, windows: Sequence[Window], encoded: Any, heard: Sequence[Heard], said: Sequence[Sequence[int]]
    ) -> list[Heard]:
        """The same with the words' times, where they are asked for."""
        timed = list(heard)
        wanted = [row for row, (window, one) in enumerate(zip(windows, heard, strict=True)) if one.text]
        wanted = [row for row in wanted if windows[row].asked.word_times]
        if not self._aligns:
            for row in wanted:
                sure = math.exp(heard[row].log_probability / heard[row].tokens)
                timed[row] = replace(heard[row], words=spread_words(heard[row].text, sure, windows[row].waveform))
            return timed
        for language in {heard[row].language for row in wanted}:  # an alignment has one start for the whole batch
            tokenizer = self._tokenizer(language)
            texts = [[token for token in tokens if token < tokenizer.eot] for tokens in said]
            lengths = [window.audio_frames for window in windows]
            alignments = self._model.align(encoded, tokenizer.sot_sequence, texts, lengths)
            for row in wanted:
                if heard[row].language == language:
                    words = aligned_words(alignments[row], texts[row], tokenizer, windows[row].waveform)
                    timed[row] = replace(heard[row], words=words)
        return timed

    def _tokenizer(self, code: str) -> Any:
        """faster-whisper's tokenizer for a language."""
        from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer

        if code not in self._tokenizers:
            added = code in self._stand_ins.values() and code not in _LANGUAGE_CODES  # by training: Whisper has no such
            made = Tokenizer(self._text, self.multilingual, task="transcribe", language="en" if added else code)
            if added and self.multilingual:
                made.language = self._text.token_to_id(f"<|{code}|>")
            self._tokenizers[code] = made
        return self._tokenizers[code]

    def _code(self, language: str) -> str:
        """Whisper's code for a BCP 47 tag: `en` for `en-US`. Raises BadRequest for one that the model cannot hear."""
        code = whisper_code(language)
        if code in self._stand_ins:
            return self._stand_ins[code]
        if not code or code == "en":
            return code
        if self.multilingual and self._text.token_to_id(f"<|{code}|>") is not None:
            with contextlib.suppress(ValueError):  # a token of another kind, such as <|translate|>
                self._tokenizer(code)
                return code
        served = "that language" if self.multilingual else "anything but English"
        raise BadRequest(f"this recognizer does not hear {served}, got language {language!r}", param="language")


def whisper_code(language: str) -> str:
    """Whisper's code for a BCP 47 tag, whether or not a model has it: `en` for `en-US`."""
    code = language.split("-")[0].split("_")[0].lower()
    return LANGUAGE_NAMES.get(code, code)


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
