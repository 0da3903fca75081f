"""`python -m finetune.starter.recognizer [STAGE ...]`: the starter's recognizer from nothing to a measured pack.

Stages, in order and each resumable: data, train, export, words, evaluate; and opinion, which helps to set the pack's
threshold for a second opinion. This file only wires them together.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

STAGES = ("data", "train", "export", "words", "evaluate")
RUN = Path("runs/starter/recognizer")
PACK = Path("models/packs/en-starter")
SEED = 0
CLIPS = 34_000


def main() -> None:
    """Runs the stages named on the command line; all of them where none is."""
    parser = argparse.ArgumentParser(prog="python -m finetune.starter.recognizer", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)} (these by default), opinion")
    parser.add_argument("--run", type=Path, default=RUN, help="folder of clips, checkpoint and figures")
    parser.add_argument("--pack", type=Path, default=PACK, help="language pack that is written")
    parser.add_argument("--clips", type=int, default=CLIPS, help="generated clips")
    parser.add_argument("--processes", type=int, default=2, help="processes that generate speech")
    parser.add_argument("--core-minutes", type=float, default=180.0, help="training ends after so much CPU time")
    parser.add_argument("--wall-minutes", type=float, default=240.0, help="and at the latest after so much time")
    arguments = parser.parse_args()
    data = Path(os.environ["PARLEY_DATA"]) if os.environ.get("PARLEY_DATA") else None
    if unknown := set(arguments.stages) - {*STAGES, "opinion"}:
        parser.error(f"unknown stages: {', '.join(sorted(unknown))}")
    arguments.run.mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages or STAGES:
        if stage == "data":
            prepare(arguments.run, data, arguments.clips, arguments.processes)
        elif stage == "train":
            train(arguments.run, arguments.core_minutes, arguments.wall_minutes)
        elif stage == "export":
            export(arguments.run, arguments.pack)
        elif stage == "words":
            words(arguments.run, arguments.pack)
        elif stage == "opinion":
            opinion(arguments.run, arguments.pack, data)
        elif stage == "evaluate":
            evaluate(arguments.run, arguments.pack, data)


def prepare(run: Path, data: Path | None, clips: int, processes: int) -> None:
    """Tokenizer and clips."""
    import random

    from finetune.starter.recognizer_data import DOMAIN_SENTENCES, generate
    from finetune.starter.recognizer_text import gather, train_tokenizer

    if not (run / "tokenizer.json").exists():
        sentences, rng = gather(DOMAIN_SENTENCES, SEED, data), random.Random(SEED)
        train_tokenizer([sentences.draw(rng) for _ in range(40_000)]).save(str(run / "tokenizer.json"))
    generate(run / "clips", clips, SEED, data, processes)


def train(run: Path, core_minutes: float, wall_minutes: float) -> None:
    """Weights, as a checkpoint in `run`."""
    import torch
    from tokenizers import Tokenizer

    from finetune.starter.domain import user_sentences
    from finetune.starter.recognizer_batch import Clips
    from finetune.starter.recognizer_data import DOMAIN_SENTENCES, read_development
    from finetune.starter.recognizer_model import Shape
    from finetune.starter.recognizer_text import core_words
    from finetune.starter.recognizer_train import Budget, Schedule, Training

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", min(2, os.cpu_count() or 1))))
    training = Training(run, Tokenizer.from_file(str(run / "tokenizer.json")), Shape(), SEED)
    budget = Budget(core_minutes=core_minutes, wall_minutes=wall_minutes)
    known = core_words(user_sentences(DOMAIN_SENTENCES, SEED, "train"))
    training.run(Clips(run / "clips", known), read_development(run / "clips"), budget, Schedule())


def export(run: Path, pack: Path) -> None:
    """The averaged weights of the last checkpoint, as CTranslate2 int8 in the pack."""
    from tokenizers import Tokenizer

    from finetune.starter.recognizer_export import export_whisper
    from finetune.starter.recognizer_model import Shape
    from finetune.starter.recognizer_train import Training

    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    training = Training(run, tokenizer, Shape(), SEED)
    export_whisper(training.averaged(), tokenizer, pack / "recognizer")


def words(run: Path, pack: Path) -> None:
    """The word model of the second opinion, in the pack."""
    from finetune.starter.opinion_words import write_words

    write_words(pack, run)


def evaluate(run: Path, pack: Path, data: Path | None) -> None:
    """Figures of the exported model, in `run`/evaluation.json."""
    from finetune.starter.recognizer_evaluate import evaluate_pack

    evaluate_pack(pack, data, run / "evaluation.json", SEED)


def opinion(run: Path, pack: Path, data: Path | None) -> None:
    """The table from which the pack's `second_opinion_below` is read."""
    from finetune.starter.recognizer_opinion import measure_opinion

    measure_opinion(pack, data, run / "opinion.json", SEED)


if __name__ == "__main__":
    main()
