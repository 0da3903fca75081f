"""The word model of the second opinion, domain and general English in one. Knows no audio.

PocketSphinx hears people, but its model of English is of newspapers and broadcasts; with the domain's sentences mixed
in, "set a timer" beats "said at time or". Mixed as two sources that a caller speaks from, each history weighing them by
how likely they give it (Iyer and Ostendorf, 1999), and pruned to what changes the probabilities most (Seymore and
Rosenfeld, 1996).
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from finetune.starter.domain import user_sentences

Grams: TypeAlias = Mapping[tuple[str, ...], float]
"""N-gram -> probability of its last word behind the others."""

WORDS = "second-opinion/words.lm.bin"
"""File in the pack."""
SENTENCES = 20_000
SEED = 0
DOMAIN_SHARE = 0.5
GENERAL_BIGRAMS = 600_000
START, END = "<s>", "</s>"


@dataclass(frozen=True)
class General:
    """A back-off bigram model."""

    words: dict[str, float]
    back_off: dict[str, float]
    pairs: dict[tuple[str, str], float]

    def of(self, word: str, before: str) -> float:
        """P(word | before)."""
        if (found := self.pairs.get((before, word))) is not None:
            return found
        return self.back_off.get(before, 1.0) * self.words.get(word, 0.0)


class Domain:
    """An interpolated trigram model of sentences, smoothed as Witten and Bell (1991) do."""

    def __init__(self, sentences: Sequence[str], known: Mapping[str, float]) -> None:
        """Sentences with a word that the dictionary lacks are left out."""
        self.counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            words = sentence.split()
            if words and all(word in known for word in words):
                spoken = [START, *words, END]
                for place in range(1, len(spoken)):
                    for length in range(min(3, place + 1)):
                        self.counts[tuple(spoken[place - length : place])][spoken[place]] += 1
        self.words = sum(self.counts[()].values())

    def of(self, word: str, before: tuple[str, ...]) -> float:
        """P(word | before), `before` of at most two words."""
        seen = self.counts.get(before)
        if seen is None:
            return self.of(word, before[1:])
        total = sum(seen.values())
        if not before:
            return seen[word] / total
        return (seen[word] + len(seen) * self.of(word, before[1:])) / (total + len(seen))

    def share(self, history: tuple[str, ...]) -> float:
        """How often the history stands in the domain's text."""
        return sum(self.counts.get(history, Counter()).values()) / max(1, self.words)


def mix(domain: Domain, general: General) -> list[Grams]:
    """Probabilities of the unigrams, bigrams and trigrams that the mixed model keeps."""
    weight = DOMAIN_SHARE
    words: dict[tuple[str, ...], float] = {
        (word,): weight * domain.of(word, ()) + (1 - weight) * share for word, share in general.words.items()
    }
    pairs: dict[tuple[str, ...], float] = {}
    kept = dict.fromkeys(_most_telling(general))
    kept.update(
        {(before[0], word): None for before, seen in domain.counts.items() if len(before) == 1 for word in seen}
    )
    for before, word in kept:
        of_domain = _posterior(domain.share((before,)), general.words.get(before, 0.0))
        if before == START:
            of_domain = weight
        pairs[before, word] = of_domain * domain.of(word, (before,)) + (1 - of_domain) * general.of(word, before)
    triples: dict[tuple[str, ...], float] = {}
    for history, seen in domain.counts.items():
        if len(history) == 2:
            general_share = general.words.get(history[0], 0.0) * general.of(history[1], history[0])
            if history[0] == START:
                general_share = general.of(history[1], START) * domain.share((START,))
            of_domain = _posterior(domain.share(history), general_share)
            for word in seen:
                mixed = of_domain * domain.of(word, history) + (1 - of_domain) * general.of(word, history[1])
                triples[*history, word] = mixed
    return [words, pairs, triples]


def write_arpa(orders: Sequence[Grams], path: Path) -> None:
    """Writes the model with the back-off weights that make every history sum to 1."""
    lines = ["\\data\\", *(f"ngram {n}={len(grams)}" for n, grams in enumerate(orders, start=1)), ""]
    for n, grams in enumerate(orders, start=1):
        back_off = _back_off(orders, n) if n < len(orders) else {}
        lines.append(f"\\{n}-grams:")
        for gram, probability in sorted(grams.items()):
            weight = f"\t{math.log10(max(back_off.get(gram, 1.0), 1e-9)):.4f}" if n < len(orders) else ""
            lines.append(f"{math.log10(max(probability, 1e-20)):.4f}\t{' '.join(gram)}{weight}")
        lines.append("")
    path.write_text("\n".join([*lines, "\\end\\", ""]), encoding="utf-8")


def _back_off(orders: Sequence[Grams], n: int) -> dict[tuple[str, ...], float]:
    """Weight of each history of n words: the probability left over, by what the shorter model gives to the rest."""
    left: dict[tuple[str, ...], float] = defaultdict(lambda: 1.0)
    rest: dict[tuple[str, ...], float] = defaultdict(lambda: 1.0)
    shorter = _back_off(orders, n - 1) if n > 1 else {}
    for gram, probability in orders[n].items():
        history, shorter_gram = gram[:-1], gram[1:]
        left[history] -= probability
        below = orders[n - 1].get(shorter_gram)
        if below is None:  # the shorter model itself backs off
            below = shorter.get(shorter_gram[:-1], 1.0) * orders[n - 2].get(shorter_gram[1:], 0.0)
        rest[history] -= below
    return {history: max(left[history], 1e-6) / max(rest[history], 1e-6) for history in left}


def _posterior(domain_share: float, general_share: float) -> float:
    """How likely a history comes from the domain."""
    mine, other = DOMAIN_SHARE * domain_share, (1 - DOMAIN_SHARE) * general_share
    return mine / (mine + other) if mine + other else 0.0


def _most_telling(general: General) -> list[tuple[str, str]]:
    """The bigrams whose loss would change the general model most."""

    def lost(pair: tuple[str, str]) -> float:
        before, word = pair
        backed = max(general.back_off.get(before, 1.0) * general.words.get(word, 0.0), 1e-20)
        return general.words.get(before, 0.01) * general.pairs[pair] * abs(math.log(general.pairs[pair] / backed))

    return sorted(general.pairs, key=lost, reverse=True)[:GENERAL_BIGRAMS]


def read_general(folder: Path) -> General:
    """The model that PocketSphinx carries, without its trigrams."""
    arpa = folder / "general.arpa"
    # PocketSphinx's writer dies at the trigrams, behind the bigrams: in a process of its own it takes nobody along.
    program = (
        "import sys, pocketsphinx as p; c, log = p.Config(), p.LogMath(); "  # both must outlive the model
        "p.NGramModel(c, log, p.get_model_path() + '/en-us/en-us.lm.bin').write(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(arpa)], check=False)
    words: dict[str, float] = {}
    back_off: dict[str, float] = {}
    pairs: dict[tuple[str, str], float] = {}
    for line in arpa.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split("\t")
        if len(fields) == 3:
            words[fields[1]], back_off[fields[1]] = 10 ** float(fields[0]), 10 ** float(fields[2])
        elif len(fields) == 4:
            pairs[fields[1], fields[2]] = 10 ** float(fields[0])
    arpa.unlink()
    if len(words) < 1000 or len(pairs) < GENERAL_BIGRAMS:
        raise ValueError(f"got {len(words)} words and {len(pairs)} pairs of PocketSphinx's model, expected far more")
    return General(words, back_off, pairs)


def write_words(pack: Path, run: Path) -> None:
    """Writes WORDS into the pack; what lies between is kept in `run`."""
    import pocketsphinx

    general = read_general(run)
    domain = Domain(user_sentences(SENTENCES, SEED, "train"), general.words)
    arpa = run / "second-opinion.arpa"
    (pack / WORDS).parent.mkdir(exist_ok=True)
    write_arpa(mix(domain, general), arpa)
    config, log = pocketsphinx.Config(), pocketsphinx.LogMath()  # both must outlive the model
    pocketsphinx.NGramModel(config, log, str(arpa)).write(str(pack / WORDS))
    print(f"{pack / WORDS}: {(pack / WORDS).stat().st_size / 1e6:.1f} MB", flush=True)
