"""`python -m finetune.demos.german STEP`: German from data to a promoted pack; docs/new-language.md tells it."""

from __future__ import annotations

import argparse

from finetune.demos import german_data
from finetune.demos.steps import ROOT

FOLDER = ROOT / "german"


def main() -> None:
    """One step."""
    parser = argparse.ArgumentParser(prog="python -m finetune.demos.german")
    parser.add_argument("step", choices=["data"])
    parser.parse_args()
    german_data.prepare(FOLDER / "data")


if __name__ == "__main__":
    main()
