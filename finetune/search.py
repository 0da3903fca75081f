"""`parley finetune RECIPE --config FILE --search SEARCH`: hyper-parameters through Optuna, a run folder a trial.

The study is an SQLite file in the search's folder, and the sampler is made anew for each trial, of seed and number: a
search that was killed goes on with the trial that it was in, and asks for what an unbroken one would have asked for.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune import config as configs
from finetune import recipe_process
from finetune.errors import ConfigError, RunError, TrainingError
from finetune.run import write_whole


@dataclass(frozen=True)
class Range:
    """Where a key's values come from: `choices`, or all from `low` to `high`; whole numbers for a whole-number key."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    """Every magnitude is as likely as any other one, as suits a learning rate."""
    choices: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        ends = [end for end in (self.low, self.high) if end is not None]
        if len(ends) != (0 if self.choices else 2):
            raise ValueError(
                f"low: got {self.low}, with high {self.high} and choices {list(self.choices)}, expected low and high, "
                f"or choices alone"
            )
        if ends and not (ends[0] < ends[1] and (ends[0] > 0 or not self.log)):
            raise ValueError(f"low: got {ends[0]:g} to {ends[1]:g}, expected from less to more, and above 0 where log")


@dataclass(frozen=True)
class Search:
    """The file that `--search` names; `configs/search_language.yaml` shows it."""

    folder: str
    """Of the search: its trials, study.db, best.yaml, trials.json, trials.svg."""
    trials: int
    measure: str
    """Of a run's metrics.jsonl, for instance dev_loss; less is better. STAGE/NAME where a run has stages."""
    keys: dict[str, Range]
    """Keys of the recipe's configuration, for instance training.learning_rate."""
    pruning: bool = True
    """Ends a trial that measures worse than the median of earlier ones did at that step."""
    pruning_after: int = 4
    """Trials that come to their end before any is pruned."""
    seed: int = 1


def run(recipe: str, kind: Any, path: Path, overrides: Sequence[str], search_path: Path) -> None:
    """Searches, or goes on with it; prints and writes the best configuration.

    Raises ConfigError, RunError for a folder of another search, and TrainingError where every trial has failed.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # 1. What is searched; in a folder that has been used, the same as before
    search: Search = configs.load(Search, search_path)
    base = configs.plain(configs.load(kind, path, overrides))
    for key in search.keys:
        _value(base, key)
    folder = Path(search.folder)
    _same_as_before(folder, search, base)
    pruner = optuna.pruners.MedianPruner(search.pruning_after) if search.pruning else optuna.pruners.NopPruner()
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}", pruner=pruner, study_name="search", load_if_exists=True
    )
    # 2. Trials, the one first in which the search was killed
    begun = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING]
    while begun or len(study.trials) < search.trials:
        study.sampler = optuna.samplers.TPESampler(seed=search.seed + (begun[0].number if begun else len(study.trials)))
        trial = optuna.trial.Trial(study, begun.pop(0)._trial_id) if begun else study.ask()
        _attempt(recipe, kind, study, trial, search, base)
    # 3. The best one, and all of them as a picture
    done = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    rows = [{"trial": t.number, "state": t.state.name.lower(), "value": t.value, **t.user_attrs} for t in study.trials]
    write_whole(folder / "trials.json", json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    if not done:
        raise TrainingError(f"all {len(rows)} trials of {folder} have failed; the last one: {rows[-1].get('error')}")
    _draw(folder / "trials.svg", search, rows)
    best = study.best_trial
    keys = best.user_attrs["keys"]
    write_whole(folder / "best.yaml", configs.text(configs.fill(kind, _changed(base, keys), str(path))))
    print(f"best of {len(done)}: trial {best.number}, {search.measure} {best.value:g}: {_told(keys)}")
    print(f"{folder / 'best.yaml'}, {folder / 'trials.svg'}")


def _attempt(recipe: str, kind: Any, study: Any, trial: Any, search: Search, base: Mapping[str, Any]) -> None:
    """One trial to its end: complete, pruned or failed."""
    from optuna.trial import TrialState

    values = {key: _suggested(trial, key, where, _value(base, key)) for key, where in search.keys.items()}
    trial.set_user_attr("keys", values)
    name = f"trial-{trial.number:03d}"
    run = str(Path(search.folder) / name)
    state, said = TrialState.COMPLETE, ""
    reported = set(study.trials[trial.number].intermediate_values)  # some, where the search was killed in this trial
    pruned_at: list[int] = []

    def goes_on(measured: Mapping[int, float]) -> bool:
        """Looks at each step in order, so that what is pruned does not depend on how often somebody looks."""
        for step in sorted(measured.keys() - reported):
            reported.add(step)
            trial.report(measured[step], step)
            if trial.should_prune():
                pruned_at.append(step)
                return False
        return True

    measured: dict[int, float] = {}
    try:
        configuration = configs.fill(kind, _changed(base, values) | {"run": run}, name)
        measured = recipe_process.train(recipe, configuration, search.measure, goes_on)
    except (ConfigError, TrainingError) as error:
        if isinstance(error, ConfigError) and error.message.startswith("measure:"):
            raise
        state, said = TrialState.FAIL, error.message
        trial.set_user_attr("error", said)
    if pruned_at:
        state, said = TrialState.PRUNED, f"pruned at step {pruned_at[0]}"
    value = min(measured.values()) if state == TrialState.COMPLETE else None
    study.tell(trial, value, state)
    print(f"{name}: {_told(values)}: {said or f'{search.measure} {value:g}'}", flush=True)


def _suggested(trial: Any, key: str, where: Range, now: object) -> object:
    if where.choices:
        texts = [json.dumps(choice) for choice in where.choices]  # Optuna's storage holds no lists
        return json.loads(trial.suggest_categorical(key, texts))
    if isinstance(now, int) and not isinstance(now, bool):
        return trial.suggest_int(key, int(where.low or 0), int(where.high or 0), log=where.log)
    return trial.suggest_float(key, where.low, where.high, log=where.log)


def _value(base: Mapping[str, Any], key: str) -> object:
    """What a configuration has at a key. Raises ConfigError for one that is not there."""
    found: Any = base
    for name in key.split("."):
        if not isinstance(found, dict) or name not in found:
            raise ConfigError(f"keys: got {key}, expected a key of the recipe's configuration")
        found = found[name]
    return found


def _changed(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with other values."""
    made = copy.deepcopy(dict(base))
    for key, value in values.items():
        *sections, name = key.split(".")
        place = made
        for section in sections:
            place = place[section]
        place[name] = value
    return made


def _same_as_before(folder: Path, search: Search, base: Mapping[str, Any]) -> None:
    """Keeps what is searched in search.json. More trials may be asked for; anything else would mix two searches."""
    now = {"search": configs.plain(search), "configuration": dict(base)}
    present = folder / "search.json"
    folder.mkdir(parents=True, exist_ok=True)
    if present.exists():
        before = json.loads(present.read_text(encoding="utf-8"))
        free = {"trials": None}
        differ = configs.changed(before["search"] | free, now["search"] | free)
        differ += configs.changed(before["configuration"], now["configuration"])
        if differ:
            raise RunError(f"{folder} is another search: {'; '.join(differ)}")
    write_whole(present, json.dumps(now, indent=1, ensure_ascii=False) + "\n")


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )


def _draw(path: Path, search: Search, rows: Sequence[Mapping[str, Any]]) -> None:
    """The measure over trials, and over each key's values; trials that were pruned or failed have none."""
    from matplotlib.figure import Figure

    done = [row for row in rows if row["value"] is not None]
    figure = Figure(figsize=(7, 2.4 * (len(search.keys) + 1)), layout="constrained")
    axes: Any = figure.subplots(len(search.keys) + 1, 1, squeeze=False)[:, 0]
    values = [row["value"] for row in done]
    axes[0].plot([row["trial"] for row in done], values, "o")
    best = [min(values[: i + 1]) for i in range(len(values))]
    axes[0].step([row["trial"] for row in done], best, where="post", label="best so far")
    axes[0].set_xlabel(f"trial ({len(rows) - len(done)} of {len(rows)} pruned or failed)")
    axes[0].legend()
    for axis, (key, where) in zip(axes[1:], search.keys.items(), strict=True):
        found = [row["keys"][key] for row in done]
        axis.plot([json.dumps(value) for value in found] if where.choices else found, values, "o")
        axis.set_xscale("log" if where.log else axis.get_xscale())
        axis.set_xlabel(key)
    for axis in axes:
        axis.set_ylabel(search.measure)
        axis.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
