"""`parley learning-curve RECIPE --config FILE`: trains on parts of the data, and says what more of it would bring.

Parts are nested and of the same speakers in the same proportions, or of as many whole speakers (`data_of_run.subset`).
Each is an ordinary run, measured on dev by the recipe; a part that is done is not done again.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune import config as configs
from finetune import learning_curve_fit, recipe_process
from finetune.command import RECIPES
from finetune.errors import ConfigError
from finetune.exit_status import SAME, exit_status
from finetune.learning_curve_fit import Curves
from finetune.run import write_whole

SHARES = (0.1, 0.25, 0.5, 1.0)
AHEAD = (1, 2, 4, 8)
"""Times the data that is there for which an error is foretold."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, 1 for an error of ours, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="parley learning-curve",
        description="Trains on parts of the data and says what more of it would bring; docs/finetune.md.",
    )
    parser.add_argument("recipe", choices=list(RECIPES), metavar="RECIPE", help=", ".join(RECIPES))
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML of the recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="changes the configuration")
    parser.add_argument("--measure", required=True, metavar="NAME", help="of dev, in metrics.jsonl; dev_wer, dev_loss")
    parser.add_argument("--target", type=float, metavar="X", help="asks how much more data it takes to measure X")
    parser.add_argument("--shares", type=_shares, default=SHARES, metavar="A,B,...", help="[0.1,0.25,0.5,1]")
    parser.add_argument("--repeats", type=int, default=1, help="of each share, with other rows and chance [1]")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="[RUN-curve]")
    args = parser.parse_intermixed_args(arguments)
    return exit_status(lambda: _run(args), again=SAME)


def _run(args: argparse.Namespace) -> int:
    kind = importlib.import_module(f"finetune.recipes.{args.recipe}").Config
    config = configs.load(kind, args.config, args.overrides)
    out = args.out or Path(f"{config.run}-curve")
    report = curve(args.recipe, kind, config, args.measure, args.shares, args.repeats, args.target, out)
    for line in report["told"]:
        print(line)
    print(f"{out / 'curve.json'}, {out / 'curve.svg'}")
    return 0


def curve(
    recipe: str, kind: Any, config: Any, measure: str, shares: Sequence[float], repeats: int, target: float | None,
    out: Path,
) -> dict[str, Any]:  # fmt: skip
    """Trains, fits, writes curve.json and curve.svg. Raises ConfigError, TrainingError."""
    # 1. One run a share and repeat
    points = []
    for repeat in range(repeats):
        for share in shares:
            points.append(_point(recipe, kind, config, measure, share, repeat, out))
            print("share {share:g}, seed {seed}: {measured:.4g}".format(**points[-1]), flush=True)
    # 2. Curves that may be behind them
    try:
        curves = learning_curve_fit.fit([p["share"] for p in points], [p["measured"] for p in points])
    except ValueError as error:
        raise ConfigError(f"learning curve: {error}") from error
    # 3. What they say
    whole = max(points, key=lambda point: point["share"])
    present, unit = _present(whole)
    ahead = {times: curves.errors(times) for times in AHEAD}
    report: dict[str, Any] = {
        "recipe": recipe, "measure": measure, "present": present, "unit": unit, "points": points,
        "foretold": [
            {"times": times, "value": value, "low": low, "high": high} for times, (value, low, high) in ahead.items()
        ],
        "exponent": float(sorted(curves.exponent)[len(curves.exponent) // 2]),
    }  # fmt: skip
    told = [
        f"with {times} times the data ({times * present:.3g} {unit}): {measure} {value:.4g} "
        f"({low:.4g} to {high:.4g}, 95 %)"
        for times, (value, low, high) in ahead.items()
    ]
    if target is not None:
        reached = min(point["measured"] for point in points)
        report["answer"] = learning_curve_fit.answer(curves, target, measure, reached)
        told.append(report["answer"]["words"])
    report["told"] = told
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "curve.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _draw(out / "curve.svg", report, curves, target)
    return report


def _point(recipe: str, kind: Any, config: Any, measure: str, share: float, repeat: int, out: Path) -> dict[str, Any]:
    """One run, or what it measured when it was made."""
    values = configs.plain(config)
    seed = values["training"]["seed"] + repeat
    values["training"] |= {"data_share": share, "seed": seed}
    run = out / f"share-{round(100 * share):03d}-seed-{seed}"
    made = configs.fill(kind, values | {"run": str(run)}, str(run))
    kept = run / "point.json"
    asked = {"configuration": configs.plain(made), "measure": measure}
    if kept.exists() and (known := json.loads(kept.read_text(encoding="utf-8")))["asked"] == asked:
        return dict(known["point"])
    measured = recipe_process.train(recipe, made, measure)
    learnt = _learnt(run, values["data"])
    point = {"share": share, "seed": seed, "measured": min(measured.values()), **learnt, "run": str(run)}
    write_whole(kept, json.dumps({"asked": asked, "point": point}, indent=1) + "\n")
    return point


def _learnt(run: Path, manifests: Sequence[str]) -> dict[str, float]:
    """Rows and seconds that a run has learnt from; of the first stage where it has several."""
    facts = next((path for path in [run / "facts.json", *sorted(run.glob("*/facts.json"))] if path.exists()), None)
    learnt = json.loads(facts.read_text(encoding="utf-8")).get("learnt", {}) if facts else {}
    return {
        name: sum(learnt[manifest][name] for manifest in manifests if manifest in learnt)
        for name in ("rows", "seconds")
    }


def _present(point: Mapping[str, Any]) -> tuple[float, str]:
    """What the data is in all, and in which unit."""
    amount = point["seconds"] / 3600 if point["seconds"] else point["rows"]
    return amount / point["share"], "hours" if point["seconds"] else "rows"


def _draw(path: Path, report: Mapping[str, Any], curves: Curves, target: float | None) -> None:
    """Points, the likely curves, and the target, over the amount of data."""
    import numpy as np
    from matplotlib.figure import Figure

    present, points = report["present"], report["points"]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axis: Any = figure.subplots()
    amounts = np.geomspace(min(point["share"] for point in points), AHEAD[-1], 60)
    bands = np.array([curves.errors(float(amount)) for amount in amounts])
    axis.fill_between(amounts * present, bands[:, 1], bands[:, 2], alpha=0.2, label="95 % of likely curves")
    axis.plot(amounts * present, bands[:, 0])
    axis.plot([p["share"] * present for p in points], [p["measured"] for p in points], "o", label="measured on dev")
    axis.axvline(present, color="#888", linestyle=":", label="all there is")
    if target is not None:
        axis.axhline(target, color="#b00", linestyle="--", label=f"target {target:g}")
    axis.set_xscale("log")
    axis.set_xlabel(f"training data, {report['unit']}")
    axis.set_ylabel(report["measure"])
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, metadata={"Date": None})


def _shares(text: str) -> tuple[float, ...]:
    return tuple(sorted(float(part) for part in text.split(",")))
