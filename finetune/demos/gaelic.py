"""`python -m finetune.demos.gaelic STEP`: Scottish Gaelic, unknown to Whisper, from 17 minutes of one speaker."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from finetune.demos.steps import (
    ROOT,
    STARTER,
    before_and_after,
    build,
    corpora,
    evaluate,
    finetune,
    note,
    parley,
    table,
)

FOLDER = ROOT / "gaelic"
SETTINGS: Final = "finetune/demos/gaelic.toml"
VOICE = FOLDER / "runs/voice"
RUN = FOLDER / "runs/recognizer"
SUBSETS: Final = ("phrases_gd", "sentences_gd")
MANIFESTS = [FOLDER / "data" / subset / "manifest.jsonl" for subset in SUBSETS]
TRAINING = (f"base={STARTER}", "text=words", "rows=16", "training.steps=600", "training.learning_rate=8e-4",
    "training.warm_up_steps=50", "training.evaluate_every=200", "training.save_every=100",
    "augment.share=0.25")  # fmt: skip


def main() -> None:
    """One step."""
    parser = argparse.ArgumentParser(prog="python -m finetune.demos.gaelic")
    parser.add_argument("step", choices=["data", "train", "train-voice", "evaluate"])
    {"data": prepare, "train": train, "train-voice": train_voice, "evaluate": measure}[parser.parse_args().step]()


def prepare() -> None:
    """Imports both sets of recordings, checks and audits them."""
    for subset, manifest in zip(SUBSETS, MANIFESTS, strict=True):
        if not manifest.exists():
            source, out = str(corpora() / "speech"), str(manifest.parent)
            consent = "public domain, by its speaker"
            parley("data", "import", "shared", source, "--subset", subset, "--out", out, "--consent", consent)
        parley("data", "check", str(manifest), "--pack", STARTER, passes=(0, 1))
    parley("data", "audit", *map(str, MANIFESTS), "--apart", "texts")


def train() -> None:
    """The recognizer."""
    finetune("recognizer", "recognizer_tiny", RUN, f"data=[{', '.join(map(str, MANIFESTS))}]", *TRAINING)


def train_voice() -> None:
    """The voice, from letters."""
    finetune("synthesizer", "synthesizer_gaelic", VOICE, f"data=[{', '.join(map(str, MANIFESTS))}]")


def measure() -> None:
    """CER of the speaker's texts that neither has heard, before and after."""
    build("gd-demo@1", SETTINGS, recognizer=RUN, language=Path(STARTER), voice=VOICE)
    report = evaluate("gd-demo@1", FOLDER / "evaluate", MANIFESTS)
    found = {rate: before_and_after(report, f"{rate}_gd", f"{rate}_gd_change") for rate in ("cer", "wer")}
    note("gaelic", **found)
    rows = [(rate.upper(), one["n"], one["before"], one["after"]) for rate, one in found.items()]
    print(table(("rate", "of", "starter, %", "adapted, %"), rows))


if __name__ == "__main__":
    main()
