"""Builds the voice's lexicon and learns its letter rules from a pronouncing dictionary. Knows no audio.

Letters are aligned to phones by expectation-maximisation (each letter speaks none, one or two phones), then every
letter gets rules with just as much context as changes the answer (default and refine, after Davel and Barnard 2008).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from app.pronounce import LEXICON, LONGEST_CONTEXT, RULES, Phones, Pronouncer, contexts
from finetune.measure import word_errors

Lexicon: TypeAlias = dict[str, Phones]
Costs: TypeAlias = dict[tuple[str, Phones], float]

KEPT_OUT_BUCKETS = 20  # one word in twenty is never learnt from
LEAST_WORDS = 2  # a rule with more context than two letters must hold for as many words
UNSEEN = 12.0  # nats
DOUBLE = 2.0  # nats against two phones on one letter: else "or" becomes a silent o and a whole syllable on r


def cmudict() -> Lexicon:
    """The CMU dictionary of the PocketSphinx wheel (BSD), first pronunciation of each word, lower case."""
    import pocketsphinx

    path = Path(pocketsphinx.__file__).parent / "model" / "en-us" / "cmudict-en-us.dict"
    lexicon: Lexicon = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        fields: list[str] = line.lower().split()
        if re.fullmatch(r"[a-z'][a-z'.]*", fields[0]):
            lexicon.setdefault(fields[0], tuple(fields[1:]))
    return lexicon


def is_kept_out(word: str) -> bool:
    """Whether the rules may not learn from this word; by hash, so that it never changes."""
    return hashlib.md5(word.encode()).digest()[0] % KEPT_OUT_BUCKETS == 0


def learn_rules(words: Lexicon, rounds: int = 5) -> dict[str, str]:
    """Context to phones, for `Pronouncer`. Words whose phones outnumber their letters twice are left out."""
    usable = {word: phones for word, phones in words.items() if word.isalpha() and len(phones) <= 2 * len(word)}
    costs = _alignment_costs(usable, rounds)
    aligned = [(word, chunks) for word, phones in usable.items() if (chunks := _aligned(word, phones, costs))]
    answers: list[Phones] = [chunk for _, chunks in aligned for chunk in chunks]
    found = [contexts(word, index) for word, _ in aligned for index in range(len(word))]
    rules: dict[str, str] = {}
    said: list[Phones | None] = [None] * len(found)
    for size in tqdm(range(LONGEST_CONTEXT + 1), desc="letter rules", unit="context"):
        counts = Counter((context[size], answer) for context, answer in zip(found, answers, strict=True))
        best: dict[str, tuple[int, Phones]] = {}
        for (context, answer), count in counts.items():
            if count > best.get(context, (0, ()))[0]:
                best[context] = (count, answer)
        for place, around in enumerate(found):
            count, answer = best[around[size]]
            if answer != said[place] and (size < 3 or count >= LEAST_WORDS):
                rules[around[size]] = " ".join(answer)
        said = [tuple(rules[c[size]].split()) if c[size] in rules else s for c, s in zip(found, said, strict=True)]
    return rules


def phone_error_rate(pronouncer: Pronouncer, words: Mapping[str, Phones]) -> tuple[float, float, int]:
    """(phone errors over phones, words with any error over words, words) of the letter rules alone."""
    errors = [word_errors(" ".join(phones), " ".join(pronouncer.by_letters(word))) for word, phones in words.items()]
    phones_in_all = sum(len(phones) for phones in words.values())
    return sum(errors) / phones_in_all, sum(e > 0 for e in errors) / len(words), len(words)


def build(folder: Path) -> tuple[float, float, int]:
    """Writes lexicon and rules below `folder`; gives the rules' error rates on the words kept out."""
    lexicon = cmudict()
    rules = learn_rules({word: phones for word, phones in lexicon.items() if not is_kept_out(word)})
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / LEXICON, ((word, " ".join(phones)) for word, phones in lexicon.items()))
    _write(folder / RULES, rules.items())
    kept_out = {word: phones for word, phones in lexicon.items() if is_kept_out(word) and word.isalpha()}
    return phone_error_rate(Pronouncer({}, rules), kept_out)


def _alignment_costs(words: Lexicon, rounds: int) -> Costs:
    """Negative log probability of a letter's phones, by Viterbi training on a sample of the words."""
    sample = random.Random(3).sample(sorted(words), min(25_000, len(words)))
    counts: Counter[tuple[str, Phones]] = Counter()
    for word in sample:
        phones = words[word]
        for index, letter in enumerate(word):
            place = round(index * len(phones) / len(word))
            for near in range(max(0, place - 1), min(len(phones), place + 2)):
                counts[letter, phones[near : near + 1]] += 4
                counts[letter, phones[near : near + 2]] += 1
            counts[letter, ()] += 3
    costs = _costs(counts)
    for _ in tqdm(range(rounds), desc="letters to phones", unit="round"):
        counts = Counter()
        for word in sample:
            counts.update(zip(word, _aligned(word, words[word], costs) or (), strict=False))
        costs = _costs(counts)
    return costs


def _costs(counts: Counter[tuple[str, Phones]]) -> Costs:
    totals: Counter[str] = Counter()
    for (letter, _), count in counts.items():
        totals[letter] += count
    return {key: -math.log(count / totals[key[0]]) for key, count in counts.items()}


def _aligned(word: str, phones: Phones, costs: Costs) -> list[Phones] | None:
    """The cheapest division of the phones among the letters, 0 to 2 each; None where there is none."""
    count = len(phones)
    best: list[tuple[float, list[Phones]] | None] = [None] * (count + 1)
    best[0] = (0.0, [])
    for letter in word:
        after: list[tuple[float, list[Phones]] | None] = [None] * (count + 1)
        for used, state in enumerate(best):
            if state is None:
                continue
            for taken in range(min(2, count - used) + 1):
                chunk = phones[used : used + taken]
                cost = state[0] + costs.get((letter, chunk), UNSEEN) + (DOUBLE if taken == 2 else 0)
                there = after[used + taken]
                if there is None or cost < there[0]:
                    after[used + taken] = (cost, [*state[1], chunk])
        best = after
    return best[count][1] if best[count] else None  # type: ignore[index]


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    text = "".join(f"{key}\t{value}\n" for key, value in sorted(rows))
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
