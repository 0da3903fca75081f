"""`parley data tokens`: what a language costs in tokens before anything is trained, and whether the cure can be served.

A language that a tokenizer has hardly seen is cut into bytes: every word then takes several steps to write.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from finetune.data.errors import DataError
from finetune.data.manifest import read_dialogues, read_utterances
from finetune.data.rows import Dialogue, Utterance
from finetune.data.spelling import Speller, spellers_of_pack, tokenizer, voice

HEAVY = 0.6
"""Tokens per character from which new tokens are worth their training: less than two letters a token."""
SHOWN = 30
"""Characters listed."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage makes of the texts."""

    stage: str
    name: str
    texts: int
    bytes_per_token: float
    tokens_per_character: float
    tokens_per_text: float
    """Median."""
    tokens_per_second: float | None
    """Tokens of a second of speech; None without recordings."""
    latency_ms: float | None
    """Median text's tokens at the given time a token; None for a voice, which has no such steps."""
    uncovered: dict[str, int]
    """Characters it cannot spell, and how often they occur."""
    language_tokens: dict[str, bool]
    """Recognizers: whether each language of the data has its token."""
    verdict: str
    """What to do, and whether that can be served."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `parley data tokens`."""
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="utterances")
    parser.add_argument("--dialogues", type=Path, help="manifest of dialogues, for the language model")
    parser.add_argument("--pack", type=Path, help="a pack's folder: its recognizer, language model and voice")
    parser.add_argument("--recognizer", type=Path, metavar="FOLDER", help="a Whisper with tokenizer.json")
    parser.add_argument("--language-model", type=Path, metavar="FOLDER", help="a chat model with tokenizer.json")
    parser.add_argument("--voice", type=Path, metavar="FOLDER", help="a VITS, MMS or XTTS voice")
    parser.add_argument("--token-ms", type=float, default=10.0, help="milliseconds a token, as parley bench says [10]")
    parser.add_argument("--out", type=Path, help="JSON to write")


def run(args: argparse.Namespace) -> int:
    """Prints the table; raises DataError."""
    spellers = spellers_of_pack(args.pack) if args.pack else []
    spellers += [tokenizer("recognizer", args.recognizer)] if args.recognizer else []
    spellers += [tokenizer("language", args.language_model)] if args.language_model else []
    spellers += [voice(args.voice)] if args.voice else []
    if not spellers:
        raise DataError("no tokenizer is named; expected --pack, --recognizer, --language-model or --voice")
    utterances = list(read_utterances(args.manifest))
    dialogues = list(read_dialogues(args.dialogues)) if args.dialogues else []
    found = [cost(speller, utterances, dialogues, args.token_ms) for speller in spellers]
    print(show(found, args.token_ms))
    if args.out:
        report = {"manifest": str(args.manifest), "token_ms": args.token_ms, "costs": [asdict(one) for one in found]}
        args.out.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


def cost(speller: Speller, utterances: Sequence[Utterance], dialogues: Sequence[Dialogue], token_ms: float) -> Cost:
    """Costs of the utterances' texts; for a language model of the dialogues', where there are any. Raises DataError."""
    spoken = [row for row in utterances if row.text.strip()]
    turns = [turn.text for row in dialogues for turn in row.turns if turn.text.strip()]
    of_turns = speller.stage == "language" and bool(turns)
    texts = turns if of_turns else [row.text for row in spoken]
    if not texts:
        raise DataError("there are no texts")
    counts = [speller.count(text) for text in texts]
    seconds = 0.0 if of_turns else sum(row.duration_s for row in spoken)
    uncovered = speller.uncovered(texts)
    ratio = sum(counts) / sum(map(len, texts))
    languages = sorted({row.language.split("-")[0] for row in utterances})
    known = {} if speller.languages is None else {name: name in speller.languages for name in languages}
    return Cost(
        speller.stage,
        speller.name,
        len(texts),
        round(sum(len(text.encode()) for text in texts) / max(1, sum(counts)), 2),
        round(ratio, 3),
        statistics.median(counts),
        round(sum(counts) / seconds, 2) if seconds else None,
        None if speller.stage == "voice" else round(statistics.median(counts) * token_ms, 1),
        dict(uncovered.most_common()),
        known,
        _verdict(speller.stage, ratio, bool(uncovered), not all(known.values())),
    )


def _verdict(stage: str, ratio: float, uncovered: bool, no_token: bool) -> str:
    """vLLM has removed extra vocabulary in adapters (its issues 28382, 28545), and refuses `modules_to_save` (9280)."""
    if stage == "voice":
        if not uncovered:
            return "covered"
        return "add the symbols and train the text encoder; served: yes, a voice is always exported whole"
    if not uncovered and ratio <= HEAVY and not no_token:
        return "covered; no new tokens needed"
    if stage == "recognizer":
        advice = "train a language token for it" if no_token and not uncovered and ratio <= HEAVY else "add tokens"
        return f"{advice}; served: yes, as a whole model for CTranslate2, a LoRA is merged first"
    return "add tokens; served: only as a merged base, by vLLM and embedded: a LoRA on vLLM cannot bring new tokens"


def show(costs: Sequence[Cost], token_ms: float) -> str:
    """A table, and below it what is uncovered and what to do."""
    lines = [
        f"{'stage':<12}{'texts':>7}{'bytes/token':>13}{'tokens/char':>13}{'tokens/text':>13}{'tokens/s':>10}{'ms':>8}"
    ]
    for one in costs:
        second = "-" if one.tokens_per_second is None else f"{one.tokens_per_second:.1f}"
        latency = "-" if one.latency_ms is None else f"{one.latency_ms:.0f}"
        lines.append(
            f"{one.stage:<12}{one.texts:>7}{one.bytes_per_token:>13.2f}{one.tokens_per_character:>13.2f}"
            f"{one.tokens_per_text:>13g}{second:>10}{latency:>8}"
        )
    lines.append(f"ms: to write the median text, estimated at {token_ms:g} ms a token")
    for one in costs:
        letters = " ".join(f"{letter}({n})" for letter, n in list(one.uncovered.items())[:SHOWN])
        lines.append(f"{one.stage} ({one.name}): {one.verdict}")
        if letters:
            lines.append(f"  cannot spell {len(one.uncovered)} characters: {letters}")
        missing = [name for name, known in one.language_tokens.items() if not known]
        if missing:
            lines.append(f"  has no language token for {', '.join(missing)}")
    return "\n".join(lines)
