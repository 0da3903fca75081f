"""Estimated marks: in order, inside their chunk, and together the whole text."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from app.workers.proportional import PIECE_SECONDS, Progress, pieces

RATE = 16_000
TEXT = " Hello there, how are you? "


def samples(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def test_a_whole_utterance_comes_in_short_pieces_with_words_in_proportion() -> None:
    chunks = list(pieces(TEXT, samples(1.35), RATE))
    assert [len(chunk.pcm) / 2 / RATE for chunk in chunks] == [PIECE_SECONDS, PIECE_SECONDS, pytest.approx(0.35)]
    assert all(chunk.marks_are_estimated for chunk in chunks)
    spans = [chunk.text_span for chunk in chunks]
    assert spans == [(0, 6), (6, 17), (17, len(TEXT))]
    # 27 characters in 1.35 s: a character takes 0.05 s.
    starts = itertools.accumulate((len(chunk.pcm) // 2 for chunk in chunks), initial=0)
    marks = [(end, start + sample) for start, chunk in zip(starts, chunks, strict=False) for end, sample in chunk.marks]
    assert marks == [(end, round(end * 0.05 * RATE)) for end in (6, 13, 17, 21, 26)]


def test_nothing_spoken_is_no_chunk() -> None:
    assert list(pieces(TEXT, samples(0), RATE)) == []


@pytest.mark.parametrize("seconds", [0.3, 1.8, 9.0], ids=["shorter", "as guessed", "longer"])
def test_a_stream_of_unknown_length_finishes_the_text_with_its_last_piece(seconds: float) -> None:
    progress = Progress(TEXT, RATE, speed=1.0)
    whole = samples(seconds)
    cuts = [whole[:1000], whole[1000:4000], whole[4000:]]
    chunks = [progress.chunk(cut, last=index == 2) for index, cut in enumerate(cuts)]
    assert [end for chunk in chunks for end, _ in chunk.marks] == [6, 13, 17, 21, 26]
    assert all(0 <= sample <= len(chunk.pcm) // 2 for chunk in chunks for _, sample in chunk.marks)
    assert chunks[0].text_span[0] == 0
    assert chunks[-1].text_span[1] == len(TEXT)
    assert all(left.text_span[1] == right.text_span[0] for left, right in itertools.pairwise(chunks))
