"""Marks for voices that keep no time: words stand in speech where they stand in the text. Knows no engine."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.audio import Waveform, to_pcm16
from app.workers.base import SpeechChunk

CHARACTERS_PER_SECOND = 15.0  # of read English at speed 1; a guess that only places words within a stream
PIECE_SECONDS = 0.5  # a listener who interrupts has been handed no more than this ahead of the pace


class Progress:
    """How far one utterance has come; its chunks carry estimated marks, and together the whole text."""

    def __init__(self, text: str, sample_rate: int, *, seconds: float = 0.0, speed: float = 1.0) -> None:
        """`seconds` is the utterance's duration where it is known, else it is guessed from the text and the speed."""
        self._text = text
        self._rate = sample_rate
        samples = (seconds or max(1, len(text)) / (CHARACTERS_PER_SECOND * speed)) * sample_rate
        ends = [word.end() for word in re.finditer(r"\S+", text)]
        self._pending = [(end, round(samples * end / len(text))) for end in ends]
        self._sent = 0
        self._character = 0

    def chunk(self, waveform: Waveform, *, last: bool) -> SpeechChunk:
        """The next piece of speech, float32 [samples]; the last one finishes the text."""
        until = self._sent + len(waveform)
        ready = [(end, sample) for end, sample in self._pending if last or sample <= until]
        self._pending = self._pending[len(ready) :]
        marks = tuple((end, min(max(0, sample - self._sent), len(waveform))) for end, sample in ready)
        start, self._character = self._character, (
            len(self._text) if last else ready[-1][0] if ready else self._character
        )  # fmt: skip
        self._sent = until
        return SpeechChunk(to_pcm16(waveform), self._rate, (start, self._character), marks, marks_are_estimated=True)


def pieces(text: str, waveform: Waveform, sample_rate: int) -> Iterator[SpeechChunk]:
    """A whole utterance in short chunks; nothing where there are no samples."""
    progress = Progress(text, sample_rate, seconds=len(waveform) / sample_rate)
    size = round(PIECE_SECONDS * sample_rate)
    for begin in range(0, len(waveform), size):
        yield progress.chunk(waveform[begin : begin + size], last=begin + size >= len(waveform))
