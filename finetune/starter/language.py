"""The starter's language model, step by step: `python -m finetune.starter.language [train | export | evaluate]`.

Knows where the files of a run lie, and nothing of how a step is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Final

RUN: Final = Path("runs/starter/language")
PACK: Final = Path("models/packs/en-starter")


def train(run: Path, *, steps: int | None, seed: int) -> None:
    """Trains from nothing, or goes on where the run stopped; the result is RUN/checkpoint.pt."""
    import torch
    from tokenizers import Tokenizer

    from finetune.starter import language_train

    torch.set_num_threads(1)  # two threads gain 1.3 times; another training beside this one gains more
    run.mkdir(parents=True, exist_ok=True)
    training = language_train.Training(seed=seed)
    if steps is not None:
        training = dataclasses.replace(training, steps=steps)
    if not language_train.training_requests():
        print("language: PARLEY_DATA is not set, so requests outside of the domain are all generated")
    (run / "training.json").write_text(json.dumps(dataclasses.asdict(training), indent=2) + "\n")
    path = run / "tokenizer.json"
    if not path.exists():
        language_train.train_tokenizer(training).save(str(path))
    language_train.train(training, Tokenizer.from_file(str(path)), run)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m finetune.starter.language", description=__doc__)
    parser.add_argument("step", nargs="?", default="all", choices=("train", "export", "evaluate", "all"))
    parser.add_argument("--run", type=Path, default=RUN, help="folder of the run")
    parser.add_argument("--pack", type=Path, default=PACK, help="folder of the pack")
    parser.add_argument("--steps", type=int, help="training steps in all")
    parser.add_argument("--split", choices=("dev", "test"), default="test", help="what evaluate asks")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.step in ("train", "all"):
        train(arguments.run, steps=arguments.steps, seed=arguments.seed)
    if arguments.step in ("export", "all"):
        from finetune.starter.language_export import export

        export(arguments.run, arguments.pack)
    if arguments.step in ("evaluate", "all"):
        from finetune.starter.language_evaluate import evaluate

        evaluate(arguments.run, arguments.pack, arguments.split)


if __name__ == "__main__":
    main()
