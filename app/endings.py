"""What a language's sentences end with: whether a text reads finished. Knows no audio and no turn.

A pack may carry counts of its callers' sentences, `endings.json`: how often a word, or two words in a row, ended a
sentence, and how often something followed; the first word is paired with START. `python -m finetune.endings` makes it.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from app.errors import PackError

Counts: TypeAlias = dict[str, tuple[int, int]]
"""Word, or two words with a space -> (sentences that it ended, times that a word followed)."""

UNSURE = 2.0  # counts of evidence that a shorter context is worth
START = "^"
MOST = 4.0  # log odds: a list of a few thousand sentences knows no better than 50 to 1


@dataclass(frozen=True)
class Endings:
    """Counts of one language."""

    words: Mapping[str, tuple[int, int]]
    pairs: Mapping[str, tuple[int, int]]

    @functools.cached_property
    def _totals(self) -> tuple[int, int]:
        """Sentences, and words that something followed; added up once, since every silent frame asks."""
        ended, followed = zip(*self.words.values(), strict=True) if self.words else ((0,), (0,))
        return max(1, sum(ended)), max(1, sum(followed))

    def log_odds(self, text: str) -> float:
        """Evidence that `text` is a whole sentence: log of how much likelier its end is as an end than in mid-sentence.

        0 where nothing is known of it: no words, or a last word that is not in the list.
        """
        spoken = normal(text)
        if not spoken or spoken[-1] not in self.words:
            return 0.0
        ends, goes_on = self._totals
        # By the last word how likely each place is, and then by the last two, as far as they have been seen.
        ended, followed = self.words[spoken[-1]]
        at_end, within = (ended + 0.5) / ends, (followed + 0.5) / goes_on
        share = at_end / (at_end + within)
        ended, followed = self.pairs.get(" ".join([START, *spoken][-2:]), (0, 0))
        at_end, within = ended / ends + UNSURE / ends * share, followed / goes_on + UNSURE / ends * (1 - share)
        share = at_end / (at_end + within)
        share = min(max(share, 1e-6), 1 - 1e-6)
        return max(-MOST, min(MOST, math.log(share / (1 - share))))


def normal(text: str) -> list[str]:
    """The words in lower case without punctuation around them."""
    bare = (word.strip(".,;:!?…\"'()[]¿¡。！？、，").lower() for word in text.split())
    return [word for word in bare if word]


def count(sentences: Iterable[str], at_least: int = 2) -> Endings:
    """Endings of sentences; what was seen fewer than `at_least` times is left out."""
    words: Counts = {}
    pairs: Counts = {}
    for sentence in sentences:
        spoken = normal(sentence)
        for place, word in enumerate(spoken):
            last = place == len(spoken) - 1
            for counts, key in ((words, word), (pairs, f"{spoken[place - 1] if place else START} {word}")):
                ended, followed = counts.get(key, (0, 0))
                counts[key] = (ended + last, followed + (not last))
    seen = [{key: value for key, value in counts.items() if sum(value) >= at_least} for counts in (words, pairs)]
    return Endings(*seen)


@functools.lru_cache(maxsize=8)
def known(path: Path) -> Endings:
    """As `read`, kept: a file in a pack never changes, and every session asks for it."""
    return read(path)


def write(endings: Endings, path: Path) -> None:
    """As JSON, sorted, so that the same sentences make the same file."""
    path.write_text(json.dumps(asdict(endings), ensure_ascii=False, sort_keys=True, indent=0) + "\n", encoding="utf-8")


def read(path: Path) -> Endings:
    """Raises PackError."""
    try:
        tables = json.loads(path.read_text(encoding="utf-8"))
        words, pairs = [
            {str(key): (int(ended), int(followed)) for key, (ended, followed) in tables[name].items()}
            for name in ("words", "pairs")
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PackError(
            f"{path} is no list of endings, expected words and pairs with two counts each: {error}"
        ) from error
    return Endings(words, pairs)
