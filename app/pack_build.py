"""Makes a versioned pack of a pack's settings and weights from elsewhere: copied whole, or not at all.

Where training leaves a stage: a folder with the weights, or a run folder that has them in `export` or `export/STAGE`.
What the run says of itself goes into the card: `facts.json` (which data, and whether the export answers as the trainer
does: parity), and `evaluation.json` where there is one, rows as a card has them. What pack.toml must say of the export,
for instance a voice's engine, is in `facts.json` too: `settings`, keys and values of the stage's table.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.cards import KEYS, read_card, write_card
from app.errors import PackError
from app.pack_versions import BUILDING
from app.packs import MANIFEST, Pack, find_pack, read_pack
from app.workers.adapters import BASE_FILE, check_adapter

STAGES = ("recognizer", "language", "adapter", "voice")
PARTS = {"adapter": "language"}
"""Of a card, where they are named otherwise."""
EXPORT = "export"
FACTS = "facts.json"
FIGURES = "evaluation.json"
TOLD = ("recipe", "fingerprint", "ancestors", "data", "seed", "speakers")
"""What a card keeps of a run's facts."""


def build(root: Path, reference: str, *, settings: Path, weights: Mapping[str, Path]) -> Pack:
    """Builds `root`/NAME@VERSION and gives it; it is not current before it is promoted.

    `settings` is a pack's folder, whose weights serve where `weights` has none for a stage, or a pack.toml alone.
    `weights`: folder by name of STAGES. Raises PackError, and leaves nothing behind.
    """
    name, _, version = reference.partition("@")
    if not version:
        raise PackError(f"got {reference!r}, expected NAME@VERSION")
    target = root / reference
    for taken in (target, root / name):
        if (taken / MANIFEST).is_file() and read_pack(taken).reference == reference:
            raise PackError(f"{reference} is there already, in {taken}; choose another version")
    origin, tables = _read(settings)
    sources = {stage: _exported(stage, folder) for stage, folder in weights.items()}
    tables["pack"] = {**tables.get("pack", {}), "name": name, "version": version}
    partial = root / BUILDING / f"{reference}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for stage in STAGES:
            _copy(stage, sources.get(stage), origin, partial, tables)
            if stage in weights:
                tables[PARTS.get(stage, stage)] |= _read_json(weights[stage] / FACTS, dict).get("settings", {})
        if origin is not None:
            for extra in ("NOTICE", "LICENSE"):
                if (origin.folder / extra).is_file():
                    shutil.copy2(origin.folder / extra, partial / extra)
            for named in (origin.recognizer.second_opinion_words, origin.turn.endings):
                if named and not (partial / named).exists():
                    (partial / named).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(origin.folder / named, partial / named)
        (partial / MANIFEST).write_text(toml(tables), encoding="utf-8")
        pack = read_pack(partial)
        _check_adapter(pack)
        card = _card(origin, weights)
        write_card(partial, {**card, "pack": name, "version": version, "language": pack.language})
        _sync(partial)
        partial.rename(target)
    except OSError as error:
        raise PackError(f"{reference} was not built: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return find_pack(root, reference)


def toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML of tables of strings, numbers, truths and lists of strings: what a pack.toml has."""
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        # a TOML basic string is a JSON string, but for U+007F, which JSON leaves as it is
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
            for key, value in values.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _read(settings: Path) -> tuple[Pack | None, dict[str, dict[str, Any]]]:
    """The pack whose weights may be taken, if it is one, and its tables."""
    manifest = settings / MANIFEST if settings.is_dir() else settings
    try:
        tables: dict[str, dict[str, Any]] = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PackError(f"{manifest} cannot be read as a pack's settings: {error}") from error
    return (read_pack(settings) if settings.is_dir() else None), tables


def _exported(stage: str, folder: Path) -> Path:
    """The weights within a run folder, or the folder itself."""
    if (folder / FACTS).is_file() and not (folder / EXPORT).is_dir():
        raise PackError(f"{folder} is a run without {EXPORT}: it has not come to its end, or its export was refused")
    export = folder / EXPORT if (folder / EXPORT).is_dir() else folder
    found = export / stage if (export / stage).is_dir() else export
    if not found.is_dir() or not any(path.is_file() for path in found.iterdir()):
        raise PackError(
            f"{found} has no weights of a {stage}: expected files in it, or a run folder with {EXPORT}/{stage}"
        )
    return found


def _copy(stage: str, source: Path | None, origin: Pack | None, to: Path, tables: dict[str, dict[str, Any]]) -> None:
    """A stage's weights into a folder of the stage's name; its table points there."""
    table, key = ("language", "adapter") if stage == "adapter" else (stage, "path")
    values = tables.setdefault(table, {})
    if source is None:
        given = str(values.get(key, "" if stage == "adapter" else stage))
        source = origin.folder / given if origin is not None and given else None
        if source is None or not source.is_dir():
            if stage in ("adapter", "recognizer"):  # no adapter, or a recognizer by its hub name
                return
            if stage == "language" and values.get("base"):  # the base is served by vLLM
                return
            raise PackError(f"no weights for the {stage}: give a folder with --{stage}")
    shutil.copytree(source, to / stage, symlinks=False)
    values[key] = stage
    if stage == "adapter":
        _name_base(to / stage, values)


def _name_base(adapter: Path, values: dict[str, Any]) -> None:
    """[language] base and base_hash as the adapter says, where the settings say nothing."""
    trained_on = _read_json(adapter / BASE_FILE, dict).get("base_sha256", "")
    base = _read_json(adapter / "adapter_config.json", dict).get("base_model_name_or_path", "")
    values["base_hash"] = values.get("base_hash") or trained_on
    values["base"] = values.get("base") or base


def _check_adapter(pack: Pack) -> None:
    """An adapter belongs to the base that the pack names. Raises PackError."""
    if pack.adapter_folder is None:
        return
    if not pack.language_model.base:
        raise PackError(f"{pack.reference} has an adapter, but neither it nor [language] names its base")
    check_adapter(pack.adapter_folder, pack.language_model.base_hash)


def _card(origin: Pack | None, weights: Mapping[str, Path]) -> dict[str, Any]:
    """What is known of each stage: of taken ones what the other pack's card says, of new ones what their runs say."""
    parts = {PARTS.get(stage, stage) for stage in weights}
    old = read_card(origin) if origin is not None else {"evaluation": [], "not_compared": []}
    rows = [row for row in old["evaluation"] if row["part"] not in parts and row["part"] in STAGES]
    training = {
        stage: facts for stage, facts in old.get("training", {}).items() if PARTS.get(stage, stage) not in parts
    }
    measured = set()
    for stage, folder in weights.items():
        facts = _read_json(folder / FACTS, dict)
        training[stage] = {key: facts[key] for key in TOLD if key in facts}
        figures = _figures(folder)
        measured |= {row["part"] for row in figures}
        for row in [*figures, *_parity(PARTS.get(stage, stage), facts)]:
            if row not in rows:  # adapter and model of one run have the same
                rows.append(row)
    compared = any(row["part"] == "recognizer" and row["metric"].endswith("_change") for row in rows)
    not_compared = set(old["not_compared"]) - parts | ({"recognizer"} & parts if origin and not compared else set())
    return {
        "training": training, "not_measured": sorted(parts - measured), "not_compared": sorted(not_compared),
        "evaluation": rows,
    }  # fmt: skip


def _figures(folder: Path) -> list[dict[str, Any]]:
    """What the run measured of its export, as rows of a card. Raises PackError."""
    rows: list[dict[str, Any]] = _read_json(folder / FIGURES, list)
    if not all(isinstance(row, dict) and set(row) == KEYS for row in rows):
        raise PackError(f"{folder / FIGURES}: expected a list of rows with the keys {sorted(KEYS)}")
    return rows


def _parity(part: str, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whether the export answers as the trainer does: a row for each form that was exported."""
    rows = []
    for form, counts in facts.get("parity", {}).items():
        n = counts.get("prompts", counts.get("clips", 0))
        other = n - counts.get("same", 0) - counts.get("ties", 0) - counts.get("refused", 0)
        value, most = round(other / max(1, n), 4), counts.get("limit", 0.0)
        rows.append(
            {
                "part": part, "metric": f"parity_{form}", "value": value,
                "unit": "share", "n": n, "n_unit": "prompts" if "prompts" in counts else "clips", "interval": None,
                "gate": {"op": "<=", "value": most}, "passed": bool(n) and value <= most,
                "note": "where the export answers otherwise than the trainer; near ties are none",
            }
        )  # fmt: skip
    return rows


def _read_json(path: Path, kind: type[Any]) -> Any:
    """A file's value of that kind, an empty one where there is no file. Raises PackError."""
    if not path.is_file():
        return kind()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PackError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise PackError(f"{path} holds {type(value).__name__}, expected {kind.__name__}")
    return value


def _sync(folder: Path) -> None:
    """A pack that is there survives a loss of power."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
