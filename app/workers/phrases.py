"""Text to phrases of phones, with the characters that each phone finishes. Knows no network and no audio.

A phrase is what the acoustic model sees at once: about a sentence, as in its training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.front_end import FrontEnd
from app.pronounce import PAUSE, phone_places
from app.spoken import Pause, SpokenWord

LONG_ENOUGH = 40  # phones: a phrase this long ends at its next comma
TOO_LONG = 110  # phones: about 8 seconds, the longest that training saw; cut between words
UNFINISHED = -1


@dataclass(frozen=True, slots=True)
class Phrase:
    """Phones of some words, between two pauses."""

    phones: NDArray[np.int64]
    """[P] numbers of the phones, from 1; first and last are PAUSE."""
    places: NDArray[np.int64]
    """[P] place in the word, see `phone_places`; 0 for pauses."""
    finished: tuple[int, ...]
    """[P] end of the source text that is spoken once the phone is, or UNFINISHED inside of a word or number."""
    pause_after: Pause


def phrases(text: str, front: FrontEnd) -> list[Phrase]:
    """The phrases of a text, in order; none where nothing can be said."""
    words = front.words(text)
    read = [
        front.phones(word.word, words[index + 1].word if index + 1 < len(words) else "")
        for index, word in enumerate(words)
    ]
    words = [word for word, own in zip(words, read, strict=True) if own]
    said = [own for own in read if own]
    numbers = {symbol: number for number, symbol in enumerate(front.symbols, start=1)}
    found: list[Phrase] = []
    begin, count = 0, 0
    for index, word in enumerate(words):
        count += len(said[index])
        last = index + 1 == len(words)
        cut = word.pause_after == "sentence" or (word.pause_after == "comma" and count >= LONG_ENOUGH)
        if last or cut or count + len(said[index + 1]) > TOO_LONG:
            found.append(_phrase(words[begin : index + 1], said[begin : index + 1], numbers))
            begin, count = index + 1, 0
    return found


def _phrase(words: list[SpokenWord], said: list[tuple[str, ...]], numbers: dict[str, int]) -> Phrase:
    phones, places, finished = [PAUSE], [0], [UNFINISHED]
    for index, (word, own) in enumerate(zip(words, said, strict=True)):
        phones += own
        places += phone_places(len(own))
        # The words of one number share a span: it is spoken when the last of them is.
        shared = index + 1 < len(words) and words[index + 1].start == word.start
        finished += [UNFINISHED] * (len(own) - 1) + [UNFINISHED if shared else word.end]
        if word.pause_after != "none" and index + 1 < len(words):
            phones.append(PAUSE)
            places.append(0)
            finished.append(UNFINISHED)
    phones.append(PAUSE)
    return Phrase(
        np.array([numbers[phone] for phone in phones]),
        np.array([*places, 0]),
        (*finished, UNFINISHED),
        words[-1].pause_after,
    )
