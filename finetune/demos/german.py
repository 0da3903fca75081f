"""`python -m finetune.demos.german STEP`: German from data to a promoted pack; docs/new-language.md tells it.

data, train-language, train-voice, train-recognizer, then build, evaluate and results; data-judge, train-judge and judge
measure how well the voice is understood; train-forgetful and forgetful what becomes of English without rehearsal.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from typing import Any, Final

from finetune.demos import german_data, german_judge
from finetune.demos.steps import PACKS, ROOT, STARTER, before_and_after, build, evaluate, figure, finetune, note, table

FOLDER = ROOT / "german"
DATA = FOLDER / "data"
RUNS = FOLDER / "runs"
GENERATED, READER, ENGLISH = (DATA / name / "manifest.jsonl" for name in ("generated", "kerstin", "english"))
COMMANDS = DATA / "commands/dialogues.jsonl"
JUDGED = DATA / "judge/manifest.jsonl"
JUDGE = RUNS / "judge"
SETTINGS: Final = "finetune/demos/german.toml"
FIRST: Final = "de-demo@1"
PACK: Final = "de-demo@2"
"""With the recognizer that was trained on; what is evaluated."""
GATE: Final = 15.0
"""Per cent of the words of kept-out sentences by kept-out voices of the generated kind."""
OLD_GATE: Final = 1.0
"""Points of English WER."""
LANGUAGE: Final = (f"data=[{COMMANDS}]", "prompt=Du bist Parley, ein freundlicher Sprachassistent.",
    f"base={STARTER}", "lora={r: 32, alpha: 64, modules_to_save: [embed_tokens]}", "export.form=merged",
    "export.parity_prompts=40", "rows=16", "training.steps=450", "training.learning_rate=2e-3",
    "training.warm_up_steps=30", "training.evaluate_every=100", "training.save_every=50")  # fmt: skip
RECOGNIZER: Final = (f"data=[{GENERATED}, {READER}]", f"base={STARTER}", "rows=16", "spec_augment=0.3",
    "dev_clips=100", "training.learning_rate=8e-4", "training.patience=0", "export.quantization=float32")  # fmt: skip
SHARES: Final = "[0.05, 0.1, 0.15, 0.2, 0.25, 0.3]"
"""Of the base's weights in those that are exported."""
REHEARSED: Final = (*RECOGNIZER, f"rehearsal={{data: [{ENGLISH}], share: 0.25}}", "training.steps=2000",
    "training.evaluate_every=400", "training.save_every=100",
    f"export.average.shares={SHARES}")  # fmt: skip
MORE: Final = (*RECOGNIZER, f"data=[{GENERATED}]", f"base={RUNS}/recognizer/export/hf",
    f"rehearsal={{data: [{ENGLISH}], share: 0.4}}", "training.learning_rate=3e-4", "training.warm_up_steps=10",
    "training.steps=180", "training.evaluate_every=180", "training.save_every=30",
    f"export.average={{shares: {SHARES}, may_rise: 0}}")  # fmt: skip
"""On from the averaged model of the first run, which has most of the starter's English, and German half learnt."""
FORGETFUL: Final = (*RECOGNIZER, f"rehearsal={{data: [{ENGLISH}], share: 0}}", "training.steps=400",
    "training.evaluate_every=400", "training.save_every=100")  # fmt: skip
"""English is heard on dev and not rehearsed."""
JUDGING: Final = ("training.budget_seconds=400", "training.steps=1500", "training.evaluate_every=300",
    "training.save_every=50", "training.warm_up_steps=50", "dev_clips=60")  # fmt: skip
"""Of CPU; more of it makes a better judge."""
STEPS: Final = {
    "data": lambda: german_data.prepare(DATA),
    "train-language": lambda: finetune("language", "language_tiny", RUNS / "language", *LANGUAGE),
    "train-recognizer": lambda: finetune("recognizer", "recognizer_tiny", RUNS / "recognizer", *REHEARSED),
    "train-recognizer-more": lambda: finetune("recognizer", "recognizer_tiny", RUNS / "recognizer-more", *MORE),
    "train-forgetful": lambda: finetune("recognizer", "recognizer_tiny", RUNS / "forgetful", *FORGETFUL),
    "train-voice": lambda: finetune("synthesizer", "synthesizer", RUNS / "voice", f"data=[{READER}]"),
    "data-judge": lambda: german_judge.prepare(DATA / "judge", READER),
    "train-judge": lambda: finetune("judge", "judge_tiny", JUDGE, f"data=[{JUDGED}]", *JUDGING),
    "build": lambda: make(),
    "evaluate": lambda: measure(),
    "judge": lambda: measure_voice(),
    "forgetful": lambda: measure_forgetful(),
    "results": lambda: print(shown(note("german"))),
}


def main() -> None:
    """One step."""
    parser = argparse.ArgumentParser(prog="python -m finetune.demos.german", description=__doc__)
    parser.add_argument("step", choices=list(STEPS))
    STEPS[parser.parse_args().step]()


def make() -> None:
    """Both versions, beside a copy of the starter: a service has one folder of packs."""
    if not (PACKS / "en-starter").exists():
        shutil.copytree(STARTER, PACKS / "en-starter")
    for version, recognizer in ((FIRST, "recognizer"), (PACK, "recognizer-more")):
        build(version, SETTINGS, recognizer=RUNS / recognizer, language=RUNS / "language", voice=RUNS / "voice")


def measure() -> None:
    """The pack against the starter: first on the reader, whose figures are reported, then on what gates it."""
    reader = evaluate(PACK, FOLDER / "evaluate-reader", [READER])
    gated = evaluate(PACK, FOLDER / "evaluate", [GENERATED], [COMMANDS], [ENGLISH])
    note("german", **figures(gated), reader=before_and_after(reader, "wer_de", "wer_de_change"))
    print(shown(note("german")))


def measure_voice() -> None:
    """What the judge mishears of the voice, saying the reader's test sentences, and of the reader herself."""
    report = evaluate(PACK, FOLDER / "evaluate-reader", [READER], judge=JUDGE)
    found = {name: figure(report, "voice", name) for name in ("round_trip_cer", "judge_cer_of_recordings")}
    note("german", voice={name: {key: one[key] for key in ("value", "interval", "n")} for name, one in found.items()})
    rows = [
        (name, one["n"], one["value"], f"{one['interval'][0]} to {one['interval'][1]}") for name, one in found.items()
    ]
    print(table(("judge's CER", "characters", "share", "95 %"), rows))


def measure_forgetful() -> None:
    """What the recognizer without rehearsal still hears of English, and the other one after as many steps."""
    build("de-forgetful@1", SETTINGS, recognizer=RUNS / "forgetful", language=RUNS / "language", voice=RUNS / "voice")
    report = evaluate("de-forgetful@1", FOLDER / "evaluate-forgetful", [READER], old=[ENGLISH])
    note("german", forgetful=before_and_after(report, "wer_en", "old_language_wer_en_change"))
    print(shown(note("german")))


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation says of the gates, and of the replies: per cent that are the right ones, and chrF."""
    right = [one["text"] == one["gold"] for one in report["replies"]]
    chrf = figure(report, "language", "chrf")
    return {
        "generated": before_and_after(report, "wer_de", "wer_de_change"),
        "english": before_and_after(report, "wer_en", "old_language_wer_en_change"),
        "replies": {"exact": round(100 * sum(right) / len(right), 1), "chrf": chrf["value"], "n": len(right)},
    }


def shown(known: Mapping[str, Any]) -> str:
    """The figures as a table."""
    rows = [
        (what, one["n"], one["before"], f"{one['after']} ({one['interval'][0]} to {one['interval'][1]})", gate)
        for what, name, gate in (
            ("German, kept-out sentences and voices", "generated", f"<= {GATE:g}"),
            ("German, the reader's test sentences", "reader", "none"),
            ("English, with rehearsal", "english", f"<= {OLD_GATE:g} more"),
            ("English, without rehearsal", "forgetful", "none"),
        )
        if (one := known.get(name))
    ]
    return table(("recognizer, WER", "words", "starter, %", "adapted, %", "gate"), rows)


if __name__ == "__main__":
    main()
