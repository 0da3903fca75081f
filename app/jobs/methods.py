"""What a job's request means for a recipe: its configuration, its data, the overrides of its command line.

Knows recipes by name only: which keys there are, and what values they take, is the recipe's to say.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.errors import BadRequest, JobsUnavailable, NotFound, PackError, UnknownModel
from app.packs import Pack, find_pack

REPOSITORY: Final = Path(__file__).resolve().parents[2]
"""Where recipes run, so that their paths mean what they mean by hand."""
COQUI_PYTHON: Final = REPOSITORY / ".venv-coqui" / "bin" / "python"
DIALOGUES: Final = "dialogues.jsonl"
UTTERANCES: Final = "manifest.jsonl"
DATASET: Final = "dataset:"
AUTO: Final = "auto"
OPENAI: Final = ("n_epochs", "batch_size", "learning_rate_multiplier")
RESERVED: Final = ("run", "base", "data", "training.seed", "engine")
"""Keys that the service sets."""


@dataclass(frozen=True, slots=True)
class Method:
    """How jobs of one kind are trained."""

    recipe: str
    stage: str
    """Of a pack, that what was trained becomes."""
    manifest: str
    small: str
    """The configuration for a machine without a GPU."""


METHODS: Final[Mapping[str, Method]] = {
    "recognizer": Method("recognizer", "recognizer", UTTERANCES, "recognizer_tiny"),
    "language": Method("language", "language", DIALOGUES, "language_tiny"),
    "synthesizer": Method("synthesizer", "voice", UTTERANCES, "synthesizer"),
    "supervised": Method("language", "language", DIALOGUES, "language_tiny"),  # OpenAI's name for it
}


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of the service that jobs read and write."""

    folder: Path
    """The jobs' own: database, uploads, runs, and in `bases` models that an operator has put there."""
    datasets: Path
    """What `parley data import` has written, by name."""
    packs: Path
    configs: Path
    """YAML of the recipes."""

    @property
    def runs(self) -> Path:
        """A folder a job."""
        return self.folder / "runs"

    def job(self, name: str) -> Path:
        """What belongs to one job: data, log, run."""
        return self.runs / name

    def run(self, name: str) -> Path:
        """The recipe's run folder, which `parley packs build` takes."""
        return self.runs / name / "run"

    def data(self, name: str) -> Path:
        """Data made of uploads."""
        return self.runs / name / "data"


def manifest_name(recipe: str) -> str:
    """The manifest that a recipe reads."""
    return METHODS[recipe].manifest


def base_of(places: Places, model: str) -> tuple[str, Pack | None]:
    """What a recipe's `base` is for a model's name, and the pack if it is one.

    A pack that is served here, the name of a folder in the jobs' `bases`, or a hub's OWNER/NAME; never a path.
    Raises UnknownModel.
    """
    if re.fullmatch(r"[\w.@-]+", model):
        try:
            pack = find_pack(places.packs, model)
            return str(pack.folder), pack
        except (UnknownModel, PackError):
            base = places.folder / "bases" / model
            if not model.startswith(".") and base.is_dir():
                return str(base), None
    elif re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model) and not (REPOSITORY / model).exists():
        return model, None
    raise UnknownModel(
        f"got model {model!r}, expected a pack served here, OWNER/NAME of a model hub, or a folder in the jobs' bases",
        param="model",
    )


def dataset_of(places: Places, reference: str, manifest: str) -> Path:
    """The manifest of `dataset:NAME`, after `parley data split` where that was done. Raises BadRequest, NotFound."""
    name = reference.removeprefix(DATASET)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadRequest(f"got {reference!r}, expected dataset:NAME, NAME without any path", param="training_file")
    folder = places.datasets / name
    for found in (folder / manifest.replace(".jsonl", ".split.jsonl"), folder / manifest):
        if found.is_file():
            return found
    raise NotFound(f"there is no data set {name!r} with a {manifest} in the service's datasets", param="training_file")


def configuration_of(places: Places, method: Method, asked: str | None, gpu: bool) -> str:
    """Name of the recipe's configuration: `asked`, or the one for this machine. Raises BadRequest, JobsUnavailable."""
    known = sorted(path.stem for path in places.configs.glob("*.yaml") if path.stem.split("_")[0] == method.recipe)
    if not known:
        raise JobsUnavailable(f"this service has no configuration of the recipe {method.recipe} in {places.configs}")
    if asked is None:
        asked = method.recipe if gpu and method.recipe in known else method.small
    if asked not in known:
        raise BadRequest(f"got {asked!r}, expected one of {', '.join(known)}", param="method.configuration")
    return asked


def python_of(configuration: Path, coqui: Path = COQUI_PYTHON) -> str:
    """The interpreter of the environment that a configuration's recipe needs. Raises JobsUnavailable."""
    import yaml  # comes with training

    engine = str(yaml.safe_load(configuration.read_text(encoding="utf-8")).get("engine", ""))
    if not engine.startswith("coqui"):
        return sys.executable
    if not coqui.exists():
        raise JobsUnavailable(f"{configuration.stem} trains with Coqui TTS; `make coqui` brings it")
    return str(coqui)


def check_hyperparameters(given: Mapping[str, Any]) -> None:
    """Refuses what no recipe may be given over the network. Raises BadRequest naming the key."""
    for key, value in given.items():
        where = f"hyperparameters.{key}"
        if key in RESERVED or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", key):
            raise BadRequest(
                f"{where}: expected {', '.join(OPENAI)}, or a key of the recipe's configuration such as training.steps",
                code="unknown_parameter",
                param=where,
            )
        if key in OPENAI:
            number = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
            if value != AUTO and not (number and (key == OPENAI[2] or value == int(value))):
                raise BadRequest(f"{where}: got {value!r}, expected a number above 0, or auto", param=where)
        elif not all(_is_plain(item) for item in (value if isinstance(value, list) else [value])):
            raise BadRequest(
                f"{where}: got {value!r}, expected a number, true or false, words, dataset:NAME, or a list of such",
                param=where,
            )


def overrides_of(
    places: Places, method: Method, given: Mapping[str, Any], *, configuration: Path, manifest: Path
) -> list[str]:
    """A job's hyperparameters as overrides of the recipe. Raises BadRequest, NotFound."""
    import yaml  # comes with training

    own = yaml.safe_load(configuration.read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in OPENAI or value == AUTO:
            continue
        one_or_many = [_resolved(places, method, item) for item in (value if isinstance(value, list) else [value])]
        values[key] = one_or_many if isinstance(value, list) else one_or_many[0]
    batch = "batch" if "batch" in own else "rows"  # the recipe's key for the rows of one
    openai = {key: given[key] for key in OPENAI if given.get(key, AUTO) != AUTO}
    if "batch_size" in openai:
        values.setdefault(batch, int(openai["batch_size"]))
    if "learning_rate_multiplier" in openai:
        rate = float(own["training"]["learning_rate"]) * float(openai["learning_rate_multiplier"])
        values.setdefault("training.learning_rate", rate)
    if "n_epochs" in openai:
        rows = values.get(batch, own.get(batch, 8)) * values.get(
            "training.accumulate", own["training"].get("accumulate", 1)
        )
        steps = math.ceil(openai["n_epochs"] * _rows_to_learn(manifest) / rows)
        values.setdefault("training.steps", max(1, steps))
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def _rows_to_learn(manifest: Path) -> int:
    with manifest.open(encoding="utf-8") as lines:
        return sum(json.loads(line).get("split", "") not in ("dev", "test") for line in lines if line.strip())


def _is_plain(value: Any) -> bool:
    """Whether a value cannot lead to a file of this machine."""
    if isinstance(value, str):
        return len(value) <= 4096 and value.isprintable() and not re.search(r"[/\\]|\.\.|^[.~]", value)
    return isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value))


def _resolved(places: Places, method: Method, value: Any) -> Any:
    if isinstance(value, str) and value.startswith(DATASET):
        return str(dataset_of(places, value, method.manifest))
    return value
