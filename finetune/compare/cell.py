"""One arm with one seed: trained, exported, built into a pack, measured. A process of its own: its seconds are its own.

`python -m finetune.compare.cell CONFIG SIZE ARM SEED`; what came of it is in its folder, `cell.json`, written last.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app import pack_build
from app.errors import ParleyError
from app.packs import MANIFEST, Pack, find_pack, read_pack
from app.supervisor import leave_with_parent
from finetune import config as configs
from finetune.compare import arms
from finetune.compare.config import STAGES, Config
from finetune.data.kept import Kept
from finetune.data.rows import Dialogue
from finetune.data.texts import text_key
from finetune.evaluate import cases
from finetune.evaluate.cases import Clip
from finetune.evaluate.figures import round_trip, scores
from finetune.evaluate.judge import ctc_judge, pack_judge
from finetune.evaluate.measure import Measured, measure
from finetune.evaluate.normal import normal
from finetune.recipes import joint
from finetune.run import write_whole

RESULT = "cell.json"
TRAINED = ("recognizer", "language", "voice/vocoder", "voice", "noisy", "joint", "finish")
"""Run folders below an arm's, each with its seconds."""


def folder_of(config: Config, size: str, arm: str, seed: int) -> Path:
    """Where a cell lies; the base is measured once."""
    return Path(config.run) / "base-as-it-is" if arm == "base" else Path(config.run) / size / f"{arm}-{seed}"


def main() -> int:
    """Exit status 0, or 1 with the reason on stderr."""
    leave_with_parent()
    path, size, arm, seed = sys.argv[1:]
    try:
        run(configs.load(Config, Path(path)), size, arm, int(seed))
    except ParleyError as error:
        print(f"parley: {error.message}", file=sys.stderr)
        return 1
    return 0


def run(config: Config, size: str, arm: str, seed: int) -> None:
    """Does what is not done yet. Raises FinetuneError, DataError, PackError."""
    folder = folder_of(config, size, arm, seed)
    if (folder / RESULT).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    # 1. Training and exports; joint arms begin with what the first stage has left
    if arm != "base":
        trained = folder / "run"
        if arms.is_joint(arm):
            _begin(folder_of(config, size, arms.FIRST, seed) / "run", trained)
        joint.run(arms.recipe(config, arm, size, seed, trained), resume=True)
    if arm == arms.FIRST:
        write_whole(folder / RESULT, "{}\n")
        return
    # 2. A pack of them
    pack = base_pack(config, folder) if arm == "base" else built(config, folder, arm, {s: trained / s for s in STAGES})
    # 3. What its workers make of kept-out speakers and texts
    clips = [*cases.clips(_paths(config.data)), *cases.clips(_paths(config.old_data), old=True)]
    dialogues = cases.dialogues(_paths(config.dialogues))
    judge = (ctc_judge(Path(config.judge)) or pack_judge(read_pack(Path(config.judge)))) if config.judge else None
    with Kept(folder / "kept.jsonl") as kept:
        measured = asyncio.run(measure(pack, clips, dialogues, kept, judge))
    result = {"size": size, "arm": arm, "seed": seed, **counted(clips, dialogues, measured)}
    if arm != "base":
        facts = {stage: _facts(trained / stage) for stage in TRAINED}
        result["seconds"] = {stage: one["seconds"] for stage, one in facts.items() if "seconds" in one}
        result["seconds"]["hypotheses"] = _facts(trained).get("hypotheses_seconds", 0.0)
        result["steps"] = {stage: one["steps"] for stage, one in facts.items() if "steps" in one}
        result["stages"] = _facts(trained)["stages"]
    write_whole(folder / RESULT, json.dumps(result, ensure_ascii=False, indent=1) + "\n")


def counted(clips: Sequence[Clip], dialogues: Sequence[Dialogue], measured: Measured) -> dict[str, Any]:
    """What figures are made of: errors and counts of each clip, reply and text, with the speaker they belong to."""
    language = measured.pack.language
    own = [i for i, clip in enumerate(clips) if clip.is_own(language)]
    old = [i for i, clip in enumerate(clips) if clip.old]
    heard = {
        name: [
            {"speaker": one.speaker, "errors": one.errors, "count": one.count, "slices": dict(one.slices or {})}
            for one in scores([clips[i] for i in rows], [measured.heard[i] for i in rows], letters=False)
        ]
        for name, rows in (("clips", own), ("old", old))
    }
    speakers = {text_key(clips[i].row.text): clips[i].row.speaker for i in own}
    asked = [
        row.turns[number - 1].text if number else ""
        for row in dialogues
        for number, turn in enumerate(row.turns)
        if turn.role == "assistant"
    ]
    replies = [
        {
            "speaker": speakers.get(text_key(said), ""),
            "right": int(one.exact and normal(one.text, language) == normal(one.gold, language)),
            "nats": one.nats,
            "tokens": one.tokens,
        }
        for said, one in zip(asked, measured.replied, strict=True)
        if one.served
    ]
    waits = [
        heard_in.finish_ms + turn.first_ms
        for heard_in, turn in zip((measured.heard[i] for i in own), measured.turns, strict=False)
        if heard_in.finish_ms is not None and turn.first_ms is not None
    ]
    return {
        **heard,
        "replies": replies,
        "voice": [{"errors": one.errors, "count": one.count} for one in round_trip(measured)],
        "first_audio_ms": waits,
        "judge": measured.judge,
        "not_measured": [list(one) for one in measured.not_measured],
    }


def base_pack(config: Config, folder: Path) -> Pack:
    """The base with its card, asked as the other arms are: in their language and with their prompt."""
    built = _build(folder, "base", Path(config.base), {})
    asked = tomllib.loads(_manifest(config).read_text(encoding="utf-8"))
    tables = tomllib.loads((built.folder / MANIFEST).read_text(encoding="utf-8"))
    tables["pack"]["language"] = asked["pack"]["language"]
    tables["language"] = asked["language"] | {"path": tables["language"]["path"]}
    tables["recognizer"] = {name: value for name, value in tables["recognizer"].items() if "second_opinion" not in name}
    write_whole(built.folder / MANIFEST, pack_build.toml(tables))
    return read_pack(built.folder)


def built(config: Config, folder: Path, arm: str, weights: dict[str, Path]) -> Pack:
    """The pack of an arm."""
    return _build(folder, arm, _manifest(config), weights)


def _build(folder: Path, arm: str, settings: Path, weights: dict[str, Path]) -> Pack:
    reference = f"{arm}@compared"
    if not (folder / "packs" / reference / MANIFEST).is_file():
        pack_build.build(folder / "packs", reference, settings=settings, weights=weights)
    return find_pack(folder / "packs", reference)


def _begin(first: Path, run: Path) -> None:
    """Copies the models of the first stage, each whole or not at all."""
    for stage in STAGES:
        if not (run / stage).exists():
            partial = run / f"{stage}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(first / stage, partial)
            partial.rename(run / stage)


def _manifest(config: Config) -> Path:
    settings = Path(config.settings)
    return settings / MANIFEST if settings.is_dir() else settings


def _paths(names: Sequence[str]) -> list[Path]:
    return [Path(name) for name in names]


def _facts(run: Path) -> dict[str, Any]:
    path = run / "facts.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


if __name__ == "__main__":
    sys.exit(main())
