"""`parley finetune RECIPE --config FILE key=value...`: an entry point, so that the service need not know of training.

Knows of the recipes only their names: each is a module with `Config` and `run(config, dry_run=, resume=)`, imported
when it is asked for.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from finetune import config
from finetune.exit_status import SAME, exit_status

RECIPES = {
    "language": "LoRA of a chat model on dialogues",
    "recognizer": "a Whisper on recordings",
    "synthesizer": "a voice on recordings: the starter's own kind, Coqui VITS or XTTS",
    "judge": "who tells whether a voice is understood, for parley evaluate --judge",
    "joint": "all three, with gradients between them; experimental",
}


def main(arguments: Sequence[str]) -> int:
    """Runs one recipe. Exit status 0, 1 for an error of ours, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="parley finetune",
        description="Trains one stage of a language pack; docs/finetune.md.",
        epilog="recipes: " + "; ".join(f"{name}: {what}" for name, what in RECIPES.items()),
    )
    parser.add_argument("recipe", choices=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML; see finetune/configs")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes the configuration: training.steps=9")
    parser.add_argument("--dry-run", action="store_true", help="says steps, memory, time and disk, and trains nothing")
    parser.add_argument("--search", type=Path, metavar="FILE", help="YAML: trains trials with keys from ranges")
    parser.add_argument("--resume", action="store_true", help="continues the run in its folder, where there is one")
    args = parser.parse_intermixed_args(arguments)
    if args.search and args.dry_run:
        parser.error("--dry-run looks at one configuration, --search tries many")
    again = "" if args.dry_run else SAME if args.search else "--resume goes on from the last checkpoint"
    return exit_status(lambda: _run(args), again=again)


def _run(args: argparse.Namespace) -> int:
    recipe = importlib.import_module(f"finetune.recipes.{args.recipe}")
    if args.search:
        search = importlib.import_module("finetune.search")
        search.run(args.recipe, recipe.Config, args.config, args.overrides, args.search)
        return 0
    recipe.run(config.load(recipe.Config, args.config, args.overrides), dry_run=args.dry_run, resume=args.resume)
    return 0
