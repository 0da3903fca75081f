"""The methods of jobs: which recipe, of which models; and where what a request names lies in the service.

Knows recipes by name only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app import REPOSITORY
from app.errors import BadRequest, JobsUnavailable, NotFound, PackError, UnknownModel
from app.packs import Pack, find_pack

COQUI_PYTHON: Final = REPOSITORY / ".venv-coqui" / "bin" / "python"
DIALOGUES: Final = "dialogues.jsonl"
UTTERANCES: Final = "manifest.jsonl"
DATASET: Final = "dataset:"


@dataclass(frozen=True, slots=True)
class Part:
    """A model that a recipe trains."""

    stage: str
    """Of a pack, that it becomes."""
    manifest: str
    """Of a data set, that it learns from."""


@dataclass(frozen=True, slots=True)
class Method:
    """How jobs of one kind are trained."""

    recipe: str
    parts: tuple[Part, ...]
    """Of several each has a section of the configuration and a folder of the run, named as its stage."""
    small: str
    """The configuration for a machine without a GPU."""

    def section(self, part: Part) -> str:
        """What stands before the part's keys."""
        return f"{part.stage}." if len(self.parts) > 1 else ""

    def part_of(self, key: str) -> Part:
        """Whose key of the configuration it is; of nobody's, the first part."""
        return next((part for part in self.parts if key.startswith(f"{part.stage}.")), self.parts[0])

    @property
    def manifests(self) -> tuple[str, ...]:
        """All that an archive must have."""
        return tuple(dict.fromkeys(part.manifest for part in self.parts))


RECOGNIZER: Final = Part("recognizer", UTTERANCES)
LANGUAGE: Final = Part("language", DIALOGUES)
VOICE: Final = Part("voice", UTTERANCES)
METHODS: Final[Mapping[str, Method]] = {
    "recognizer": Method("recognizer", (RECOGNIZER,), "recognizer_tiny"),
    "language": Method("language", (LANGUAGE,), "language_tiny"),
    "synthesizer": Method("synthesizer", (VOICE,), "synthesizer"),
    "joint": Method("joint", (RECOGNIZER, LANGUAGE, VOICE), "joint_tiny"),
    "supervised": Method("language", (LANGUAGE,), "language_tiny"),  # OpenAI's name for it
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
    reports: Path
    """Where `parley evaluate` leaves its pages, a folder a pack."""

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

    def listed(self) -> list[tuple[str, list[str]]]:
        """Data sets that a job may name, each with its kinds of manifest."""
        found = []
        for folder in sorted(self.datasets.glob("*")):
            if has := [name for name in (UTTERANCES, DIALOGUES) if (folder / name).is_file()]:
                found.append((f"{DATASET}{folder.name}", has))
        return found

    def exports(self, name: str, method: Method) -> dict[str, Path]:
        """What `parley packs build` takes of a finished job: run folders by stage, `adapter` where there is no more."""
        found = {}
        for part in method.parts:
            run = self.run(name) / part.stage if len(method.parts) > 1 else self.run(name)
            alone = part is LANGUAGE and not (run / "export" / part.stage).is_dir()
            found["adapter" if alone else part.stage] = run
        return found


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


def check_model(places: Places, method: Method, model: str) -> None:
    """Refuses a model that the method cannot begin from. Raises UnknownModel, BadRequest."""
    _, pack = base_of(places, model)
    if pack is None and len(method.parts) > 1:
        raise BadRequest(
            f"got model {model!r}, expected a pack served here, since {method.recipe} begins from each of its stages;"
            f" another model is given by hyperparameters such as {method.parts[0].stage}.base",
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

    values = yaml.safe_load(configuration.read_text(encoding="utf-8"))
    engine = str(values.get("voice", values).get("engine", ""))  # of a joint run its voice has it
    if not engine.startswith("coqui"):
        return sys.executable
    if not coqui.exists():
        raise JobsUnavailable(f"{configuration.stem} trains with Coqui TTS; `make coqui` brings it")
    return str(coqui)
