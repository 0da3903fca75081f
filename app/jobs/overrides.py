"""A job's hyperparameters as overrides of its recipe's command line. Which other keys there are is the recipe's to say.

A value cannot lead to a file of this machine: data and models go by names, which become paths here alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from app import REPOSITORY
from app.errors import BadRequest
from app.jobs.methods import DATASET, LANGUAGE, METHODS, Method, Part, Places, base_of, dataset_of
from app.jobs.store import Job

AUTO: Final = "auto"
OPENAI: Final = ("n_epochs", "batch_size", "learning_rate_multiplier")
RESERVED: Final = frozenset({"base", "data"})
"""Keys that the service sets, beside those that end in one of RESERVED_ENDS; sections may have their own."""
RESERVED_ENDS: Final = frozenset({"run", "seed", "engine"})


def check_hyperparameters(places: Places, method: Method, given: Mapping[str, Any]) -> None:
    """Refuses what may not be given over the network. Raises BadRequest naming the key, UnknownModel, NotFound."""
    for key, value in given.items():
        where = f"hyperparameters.{key}"
        known = re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", key)
        if not known or key in RESERVED or key.rpartition(".")[2] in RESERVED_ENDS:
            raise BadRequest(
                f"{where}: expected {', '.join(OPENAI)}, or a key of the recipe's configuration such as training.steps",
                code="unknown_parameter",
                param=where,
            )
        if key in OPENAI:
            number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
            if value != AUTO and not (number and (key == OPENAI[2] or value == int(value))):
                raise BadRequest(f"{where}: got {value!r}, expected a number above 0, or auto", param=where)
        elif not (isinstance(value, str) if _is_base(key) else all(_is_plain(item) for item in _items(value))):
            raise BadRequest(
                f"{where}: got {value!r}, expected a number, true or false, words, dataset:NAME, or a list of such",
                param=where,
            )
        else:
            _resolved(places, method, key, value)


def overrides_of(places: Places, job: Job) -> list[str]:
    """All of a job whose data are there. Raises BadRequest, NotFound, UnknownModel."""
    import yaml  # comes with training

    method = METHODS[job.method]
    own = yaml.safe_load((places.configs / f"{job.configuration}.yaml").read_text(encoding="utf-8"))
    trainings = dict(_trainings(own))
    values: dict[str, Any] = {"run": str(places.run(job.id))}
    for part in method.parts:
        values |= _part(places, job, method, part)
    values |= {f"{name}.seed": job.seed for name in trainings}
    given = {key: value for key, value in job.hyperparameters.items() if value != AUTO}
    values |= {key: _resolved(places, method, key, value) for key, value in given.items() if key not in OPENAI}
    if "batch_size" in given:
        for part in method.parts:
            values.setdefault(_batch(method, part, own)[0], int(given["batch_size"]))
    if "learning_rate_multiplier" in given:
        for name, training in trainings.items():
            rate = float(training["learning_rate"]) * float(given["learning_rate_multiplier"])
            values.setdefault(f"{name}.learning_rate", rate)
    if "n_epochs" in given:
        for part in method.parts:
            section = method.section(part)
            key, usual = _batch(method, part, own)
            name = f"{section}training"
            accumulate = values.get(f"{name}.accumulate", trainings[name].get("accumulate", 1))
            rows = sum(_rows_to_learn(Path(manifest)) for manifest in values[f"{section}data"])
            steps = math.ceil(given["n_epochs"] * rows / (values.get(key, usual) * accumulate))
            values.setdefault(f"{name}.steps", max(1, steps))
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def _part(places: Places, job: Job, method: Method, part: Part) -> dict[str, Any]:
    """What a model begins from, and what it learns from."""
    section = method.section(part)
    base, pack = base_of(places, job.hyperparameters.get(f"{section}base", job.model))
    values: dict[str, Any] = {f"{section}base": base}
    if f"{section}data" not in job.hyperparameters:
        uploaded = not job.training_file.startswith(DATASET)
        folder = places.data(job.id)
        found = folder / part.manifest if uploaded else dataset_of(places, job.training_file, part.manifest)
        values[f"{section}data"] = [str(found)]
    if part is LANGUAGE and pack is not None:
        values[f"{section}prompt"] = pack.language_model.prompt
        if section:
            values["spoken_input"] = pack.language_model.spoken_input
    return values


def _batch(method: Method, part: Part, own: Mapping[str, Any]) -> tuple[str, int]:
    """The recipe's key for the rows of a batch, and how many they are by its configuration."""
    section = method.section(part)
    values = own[part.stage] if section else own
    name = "batch" if "batch" in values else "rows"
    return f"{section}{name}", int(values.get(name, 8))


def _trainings(own: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Sections of a configuration that say how something is trained, by their keys."""
    for key, value in own.items():
        if isinstance(value, dict) and "steps" in value:
            yield f"{above}{key}", value
        elif isinstance(value, dict):
            yield from _trainings(value, f"{above}{key}.")


def _rows_to_learn(manifest: Path) -> int:
    with manifest.open(encoding="utf-8") as lines:
        return sum(json.loads(line).get("split", "") not in ("dev", "test") for line in lines if line.strip())


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _is_base(key: str) -> bool:
    """Whether the value is a model's name."""
    return key.endswith(".base")


def _is_plain(value: Any) -> bool:
    """Whether a value cannot lead to a file of this machine."""
    if isinstance(value, str):
        plain = len(value) <= 4096 and value.isprintable() and not re.search(r"[/\\]|\.\.|^[.~]", value)
        return plain and not (value and len(value) < 256 and (REPOSITORY / value).is_file())
    return isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value))


def _resolved(places: Places, method: Method, key: str, value: Any) -> Any:
    """A value with names of models and data sets as paths; one data set alone is a list where the recipe has one."""
    if _is_base(key):
        return base_of(places, value)[0]
    manifest = method.part_of(key).manifest
    found = [
        str(dataset_of(places, item, manifest)) if isinstance(item, str) and item.startswith(DATASET) else item
        for item in _items(value)
    ]
    return found if isinstance(value, list) or key.endswith(".data") else found[0]
