"""What a Whisper writes although nobody said it: phrases of its training's silences, and loops. Knows no model.

A pack lists the phrases that its model is known for. A phrase counts only as the whole of a window and only where the
model is unsure, since people do say "thank you".
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection


def is_hallucination(
    text: str,
    sureness: float,
    *,
    ended: bool,
    phrases: Collection[str],
    sure_from: float,
    most_compression: float,
) -> bool:
    """Whether `text` is one of `phrases` (as `plain` gives them), once or over and over, or a loop.

    `sureness` is the confidence times the probability that somebody spoke. A text that compresses better than
    `most_compression` is a loop where the model is unsure or never came to an end (`ended`); a caller who counts or
    spells repeats too.
    """
    unsure = sureness < sure_from
    if unsure and once(plain(text)) in phrases:
        return True
    return (unsure or not ended) and compression(text) > most_compression


def plain(text: str) -> str:
    """Lower-case words with single spaces, without punctuation."""
    return " ".join(re.sub(r"[^\w\s']", " ", text.lower()).split())


def once(text: str) -> str:
    """`a b` of `a b a b a b`, also where the last repeat is cut off."""
    words = text.split()
    for length in range(1, len(words)):
        if all(word == words[index % length] for index, word in enumerate(words)):
            return " ".join(words[:length])
    return " ".join(words)


def compression(text: str) -> float:
    """Bytes over compressed bytes: openai/whisper's measure of repetition, which takes 2.4 for too much."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))
