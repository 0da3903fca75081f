"""What a recognizer makes of words: confusions counted from its own hearing, and user turns disturbed alike.

    python -m finetune.recipes.language_noise MANIFEST --pack PACK --out confusions.tsv

has a pack's recognizer listen to the recordings of a manifest (train split) and writes what it made of each word.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from app.errors import ParleyError
from finetune.data import hearing
from finetune.data.errors import ManifestError
from finetune.data.manifest import audio_path, read_utterances
from finetune.data.measured import measured
from finetune.data.texts import text_key
from finetune.run import write_whole

Confusions = Mapping[str, Counter[str]]
"""Word said -> what was heard for it, with counts; an empty text where nothing was."""


def aligned(said: str, heard: str) -> Iterator[tuple[str, str]]:
    """Each word said with what was heard for it; words that nobody said belong to the word before them."""
    ours, theirs = text_key(said).split(), text_key(heard).split()
    costs = [list(range(len(theirs) + 1))]  # costs[i][j]: errors between the first i words said and j heard
    for i, word in enumerate(ours, start=1):
        row = [i]
        for j, other in enumerate(theirs, start=1):
            row.append(min(costs[-1][j] + 1, row[-1] + 1, costs[-1][j - 1] + (word != other)))
        costs.append(row)
    pairs: list[tuple[str, str]] = []
    i, j, extra = len(ours), len(theirs), ""
    while i:
        if j and costs[i][j] == costs[i - 1][j - 1] + (ours[i - 1] != theirs[j - 1]):
            pairs.append((ours[i - 1], f"{theirs[j - 1]} {extra}".strip()))
            i, j, extra = i - 1, j - 1, ""
        elif costs[i][j] == costs[i - 1][j] + 1:
            pairs.append((ours[i - 1], extra))
            i, extra = i - 1, ""
        else:
            j, extra = j - 1, f"{theirs[j - 1]} {extra}".strip()
    return reversed(pairs)


def confusions_of(pairs: Iterable[tuple[str, str]]) -> Confusions:
    """Counts over (said, heard) texts; only words that were misheard at least once."""
    counted: dict[str, Counter[str]] = {}
    for said, heard in pairs:
        for word, other in aligned(said, heard):
            if word != other:
                counted.setdefault(word, Counter())[other] += 1
    return counted


def write_confusions(path: Path, confusions: Confusions) -> None:
    """Lines of `said<TAB>heard<TAB>count`."""
    lines = [f"{said}\t{heard}\t{n}\n" for said, others in sorted(confusions.items()) for heard, n in others.items()]
    write_whole(path, "".join(lines))


def read_confusions(path: Path) -> Confusions:
    """What `write_confusions` wrote, or a person. Raises ManifestError naming the line."""
    confusions: dict[str, Counter[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split("\t")
        if len(parts) != 3 or not parts[0] or not parts[2].isdigit():
            raise ManifestError(f"{path}:{number}: got {line!r}, expected said, heard and count, with tabs between")
        confusions.setdefault(parts[0], Counter())[parts[1]] += int(parts[2])
    return confusions


def disturbed(text: str, confusions: Confusions, rate: float, rng: random.Random) -> str:
    """The text with `rate` of the words that are ever misheard replaced by what was heard, as often as it was.

    Never empty: the service does not answer silence.
    """
    words = []
    for word in text.split():
        others = confusions.get(text_key(word))
        if others and rng.random() < rate:
            words += rng.choices(list(others), list(others.values()))
        else:
            words.append(word)
    return " ".join(" ".join(words).split()) or text


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts the confusions of a pack's recognizer."""
    parser = argparse.ArgumentParser(description="What a pack's recognizer makes of the words of a manifest.")
    parser.add_argument("manifest", type=Path, help="utterances with recordings; those of split train are heard")
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack whose recognizer listens")
    parser.add_argument("--out", type=Path, required=True, help="file of lines said, heard, count")
    args = parser.parse_args(arguments)
    try:
        rows = [row for row in read_utterances(args.manifest) if row.split == "train"]
        paths = [audio_path(args.manifest, row) for row in rows]
        sounds = list(measured(paths, rows, args.manifest.parent))
        recognizer = hearing.load(args.pack, "whisper")
        cache = args.manifest.parent / f".heard-{args.pack.resolve().name}.jsonl"
        texts = hearing.heard(paths, rows, sounds, recognizer, cache)
        confusions = confusions_of((row.text, text) for row, text in zip(rows, texts, strict=True) if text)
        write_confusions(args.out, confusions)
    except ParleyError as error:
        print(error.message, file=sys.stderr)
        return 1
    print(f"{args.out}: {len(confusions)} words of {len(rows)} recordings were misheard at least once")
    return 0


if __name__ == "__main__":
    sys.exit(main())
