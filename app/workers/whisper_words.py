"""When each word of a window was said. Knows no batch and no caller.

The decoder's cross-attention tells, through the heads that a model's config.json names (`alignment_heads`;
openai/whisper timing.py). Where it names none, the words share the loud part of the window by their letters.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.audio import HEARING_RATE, Waveform
from app.workers.base import Word

STATE_SECONDS = 0.02  # of audio in one encoder state
LOUD = 0.05  # of the loudest block's amplitude: -26 dB, above a room's noise and below a fricative
BLOCK = HEARING_RATE // 50  # 20 ms
LAST_WORD_SECONDS = 1.0  # what is loud for longer behind the last word's start is something else
UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")


def has_alignment_heads(folder: Path) -> bool:
    """Whether the model's config.json names heads whose attention follows the audio."""
    return bool(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("alignment_heads"))


def aligned_words(alignment: Any, tokens: Sequence[int], tokenizer: Any, waveform: Waveform) -> tuple[Word, ...]:
    """CTranslate2's alignment of `tokens`, without the end, as words. The loud part of the window bounds them all."""
    texts, groups = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    text_at = np.array([pair[0] for pair in alignment.alignments])
    state_at = np.array([pair[1] for pair in alignment.alignments])
    jumps = np.flatnonzero(np.diff(text_at, prepend=-1))
    times = state_at[jumps] * STATE_SECONDS  # of each token's start, the end token's too
    bounds = np.concatenate([[0], np.cumsum([len(group) for group in groups[:-1]])])
    first, last = loud_part(waveform)
    starts, ends = (np.clip(times[np.minimum(b, len(times) - 1)], first, last) for b in (bounds[:-1], bounds[1:]))
    if len(ends) and last - starts[-1] < LAST_WORD_SECONDS:
        ends[-1] = last  # the end token's attention mostly leaves before the last word is over
    probabilities = alignment.text_token_probs
    words = [
        Word(text, float(start), float(end), float(np.mean(probabilities[low:high])))
        for text, start, end, low, high in zip(texts[:-1], starts, ends, bounds[:-1], bounds[1:], strict=True)
    ]
    return joined(words, spaced=tokenizer.language_code not in UNSPACED)


def spread_words(text: str, probability: float, waveform: Waveform) -> tuple[Word, ...]:
    """The words of `text` over the loud part of the window, in proportion to their letters."""
    words = text.split()
    first, last = loud_part(waveform)
    ends = np.cumsum([0, *(len(word) for word in words)]) / max(1, len("".join(words))) * (last - first) + first
    return tuple(
        Word(word, float(start), float(end), probability)
        for word, start, end in zip(words, ends[:-1], ends[1:], strict=True)
    )


def joined(pieces: Sequence[Word], *, spaced: bool) -> tuple[Word, ...]:
    """Punctuation, and in spaced scripts whatever follows without a space, goes to the word before."""
    words: list[Word] = []
    for piece in pieces:
        text = piece.text.strip()
        mark = bool(text) and all(character in string.punctuation + "。，！？、…" for character in text)
        if not text:
            continue
        if words and (mark or (spaced and not piece.text.startswith(" "))):
            before = words.pop()
            end = before.end_s if mark else piece.end_s
            words.append(Word(before.text + text, before.start_s, end, min(before.probability, piece.probability)))
        else:
            words.append(Word(text, piece.start_s, piece.end_s, piece.probability))
    return tuple(words)


def loud_part(waveform: Waveform) -> tuple[float, float]:
    """Seconds of the first and the last loud place; all of it where it is shorter than two blocks."""
    if len(waveform) < 2 * BLOCK:
        return 0.0, len(waveform) / HEARING_RATE
    blocks = waveform[: len(waveform) // BLOCK * BLOCK].reshape(-1, BLOCK)
    levels = np.sqrt((blocks**2).mean(axis=1))
    loud = np.flatnonzero(levels >= LOUD * levels.max())
    return float(loud[0]) * BLOCK / HEARING_RATE, float(loud[-1] + 1) * BLOCK / HEARING_RATE
