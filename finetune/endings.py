"""`python -m finetune.endings`: what sentences of a language end with, for a pack's `[turn] endings`.

Of what callers say in dialogues as `parley data import` writes them, of any text with a sentence a line, or of the
starter's own domain. Knows no audio.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.endings import count, write
from app.errors import BadRequest

SENTENCES, SEED = 40_000, 0  # of the starter's domain


def main(arguments: Sequence[str] | None = None) -> None:
    """Counts and writes. Raises BadRequest."""
    parser = argparse.ArgumentParser(prog="python -m finetune.endings", description=__doc__)
    parser.add_argument("texts", type=Path, nargs="*", help="dialogues.jsonl or text files [the starter's domain]")
    parser.add_argument("--out", type=Path, required=True, help="the pack's endings.json")
    options = parser.parse_args(arguments)
    sentences = [sentence for path in options.texts for sentence in read(path)] if options.texts else _starter()
    if not sentences:
        raise BadRequest(f"got no sentence in {', '.join(map(str, options.texts))}, expected what callers say")
    endings = count(sentences)
    write(endings, options.out)
    print(f"{options.out}: {len(endings.words)} words and {len(endings.pairs)} pairs of {len(sentences)} sentences")


def read(path: Path) -> Iterator[str]:
    """The callers' messages of dialogues, or the lines of a text."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if path.suffix != ".jsonl":
            yield line
            continue
        for message in json.loads(line)["messages"]:
            if message.get("role") == "user":
                yield str(message.get("content") or "")


def _starter() -> list[str]:
    """As often as callers say them: a short greeting is frequent, and as a different sentence it would count once."""
    from finetune.starter.domain import exchange, split_of
    from finetune.starter.domain_entities import Entities

    e = Entities(random.Random(SEED), 0.0)
    said = (exchange(e).user for _ in range(SENTENCES))
    return [sentence for sentence in said if split_of(sentence) == "train"]


if __name__ == "__main__":
    main()
