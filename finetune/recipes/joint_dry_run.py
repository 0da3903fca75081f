"""A dry run of the joint recipe: what each of its stages would take, and the rung, before anything is trained.

The models that have no finished run are measured as their bases are. Writes nothing but into a folder that is removed.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from finetune import dry_run as estimates
from finetune.data.rows import Utterance
from finetune.dry_run import show
from finetune.joint import ladder, loop
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_heard import splits, task_of
from finetune.recipes.joint_losses import Step
from finetune.recipes.joint_pairs import said_in
from finetune.recipes.joint_parts import models_of
from finetune.recipes.joint_rung import choice_of, measure
from finetune.recipes.joint_together import exported, together
from finetune.recipes.joint_unpaired import Recordings, recordings


def show_plan(config: Config, recipes: Mapping[str, Callable[..., None]]) -> None:
    """Prints it; `recipes` by model, in the order of the first stage. Raises ConfigError, DataError, FinetuneError."""
    found = recordings(config)
    with tempfile.TemporaryDirectory() as scratch:
        # 1. First stage: the separate recipes, unless they are done
        trained = [one for one in recipes if exported(getattr(config, one))]
        for one, recipe in recipes.items():
            if one not in trained:
                own = dataclasses.replace(getattr(config, one), run=str(Path(scratch) / one))
                config = dataclasses.replace(config, **{one: own})
                print(f"{one}, first stage:")
                recipe(own, dry_run=True)
        if config.rung == "staged":
            print("rung       staged, as asked for: there are no further stages")
            return

        # 2. Second stage
        parts = together(config, trained)
        if config.noisy:
            said = {
                split: [said_in(pair.dialogue, pair.clip.text) for pair in pairs]  # about as long as what will be heard
                for split, pairs in splits(parts).items()
            }
            print("noisy, second stage:")
            print(show(estimates.estimate(task_of(config, parts.language, said), config.noisy), config.noisy))

        # 3. Third stage, with edges in every step
        meets = config.rung != "cached"  # what that rung leaves out
        measured, estimate = measure(config, parts, found)
        print(hearing(measured.caching_seconds, [pair.clip for pair in parts.pairs.all], found))
        if config.joint and meets:
            print(f"joint, third stage:\n{show(estimate, config.joint)}")

        # 4. Fourth stage
        if config.finish and meets:
            models = models_of(parts)
            for name in ("recognizer", "language"):
                models[name].requires_grad_(False)
            step = Step(parts, separate=("voice",), edges=("chain",))
            task = loop.Task(models, step.batch, step.losses, step.crossings, step.dev, {})
            print(f"finish, fourth stage:\n{show(loop.estimate(task, config.finish), config.finish)}")

        # 5. What of it fits
        print(ladder.show(choice_of(config, measured)))


def hearing(seconds: float, clips: Sequence[Utterance], found: Recordings | None) -> str:
    """A line: what the recognizer needs for the clips of dialogues, and by that for recordings without texts."""
    line = f"hearing    {seconds / 60:.1f} minutes for the clips of dialogues"
    if found:
        a_second = seconds / sum(clip.duration_s for clip in clips)
        rows = [row for own in found.rows.values() for row in own]
        line += f", {a_second * sum(row.duration_s for row in rows) / 60:.1f} for recordings without texts"
    return line
