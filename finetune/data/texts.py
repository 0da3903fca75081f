"""When two texts are the same, or nearly: for splits, and for the audit of them. Knows no rows.

Near is a Jaccard similarity of the sets of character trigrams: it needs no words, which some languages do not write.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import ceil

NEAR = 0.85
"""Jaccard similarity of trigrams from which two texts are nearly the same: one letter of difference in 25, say."""


def text_key(text: str) -> str:
    """The text as it is heard: without case, punctuation and double spaces, in composed form."""
    letters = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if _is_heard(c) else " " for c in letters if c not in "'’").split())


def near_pairs(keys: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """Pairs (i < j) of different keys that are NEAR, with their similarity; all of them.

    Sets that are similar enough share one of their few rarest members (prefix filtering: Chaudhuri and others, "A
    primitive operator for similarity joins", 2006), so only such pairs are compared.
    """
    sets = [{f" {key} "[i : i + 3] for i in range(len(key))} for key in keys]
    counts = Counter(gram for grams in sets for gram in grams)
    rare: defaultdict[str, list[int]] = defaultdict(list)
    for j, grams in enumerate(sets):
        ordered = sorted(grams, key=lambda gram: (counts[gram], gram))
        prefix = ordered[: len(ordered) - ceil(NEAR * len(ordered)) + 1]
        candidates = {i for gram in prefix for i in rare[gram]}
        for i in sorted(candidates):
            smaller, larger = sorted((len(sets[i]), len(grams)))
            if smaller < NEAR * larger:
                continue
            shared = len(sets[i] & grams)
            similarity = shared / (len(sets[i]) + len(grams) - shared)
            if similarity >= NEAR and keys[i] != keys[j]:
                yield i, j, similarity
        for gram in prefix:
            rare[gram].append(j)


def groups(texts: Sequence[str]) -> list[int]:
    """For each text the number of its group: texts that are the same, or nearly, directly or by way of others."""
    keys = [text_key(text) for text in texts]
    distinct = list(dict.fromkeys(keys))
    parent = list(range(len(distinct)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, _ in near_pairs(distinct):
        parent[root(j)] = root(i)
    number = {key: root(i) for i, key in enumerate(distinct)}
    return [number[key] for key in keys]


def _is_heard(letter: str) -> bool:
    """Letters, marks and digits; in every script."""
    return unicodedata.category(letter)[0] in "LMN"
