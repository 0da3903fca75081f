"""The joint recipe: recognizer, language model and voice on one language, with edges between them; three workers out.

Reads from top to bottom: `run` with its steps, then what the steps are made of. The first stage is the three separate
recipes as they are, so that every rung of the ladder, and every stage that dev refuses, leaves three exports.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from finetune import processes
from finetune.data.ledger import NAME as LEDGER
from finetune.data.ledger import Ledger
from finetune.data.rows import Dialogue, Utterance, speakers_of
from finetune.errors import ConfigError
from finetune.joint import loop
from finetune.joint.ladder import show
from finetune.joint.turns import evenly
from finetune.loop import Training
from finetune.recipes import joint_parts as parts_of
from finetune.recipes import language, recognizer, synthesizer
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_dry_run import show_plan
from finetune.recipes.joint_heard import read_as_heard, rest_of
from finetune.recipes.joint_losses import EDGES, Step
from finetune.recipes.joint_parts import Parts
from finetune.recipes.joint_pseudo_labels import heard
from finetune.recipes.joint_rung import choice_of, measure
from finetune.recipes.joint_together import MODELS, exported, together
from finetune.recipes.joint_unpaired import recordings
from finetune.run import Run, open_run

__all__ = ["Config", "run"]


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError."""
    synthesizer.expect_libraries(config.voice, "joint")
    config = below(config)
    first = config.recognizer.training
    if dry_run and processes.count() > 1:
        raise ConfigError(f"--dry-run of joint: got {processes.count()} processes, expected one, without accelerate")
    processes.meet(first.device)
    if dry_run:
        # 1. A dry run ends here
        show_plan(config, {one: RECIPES[one] for one in order(config.rung)})
        return

    # 2. The run folder; those of the three models lie below it. Recordings without texts must not be those of dev
    found = recordings(config)
    opened = open_run(
        Path(config.run),
        "joint",
        config,
        data=found.fingerprints if found else {},
        seed=first.seed,
        resume=resume,
        may_differ=("run", *MODELS),
    )

    # 3. First stage: each model by itself, trained and exported as by its own recipe; each run folder looks for itself
    #    whether it is continued with the same configuration
    restore_bases(opened, config)
    for one in order(config.rung):
        own = getattr(config, one)
        print(f"first stage: {one}")
        if facts := exported(own):
            name = facts["recipe"]
            open_run(Path(own.run), name, own, data=facts["data"], seed=own.training.seed, resume=True)
        else:
            RECIPES[one](own, resume=resume)
    processes.wait()  # until the first one has exported them
    if config.rung == "staged":
        opened.note(rung="staged", stages=["separate"])
        told(config)
        return

    # 4. All three with their best weights; the rung that fits; what is heard where there is no text; who said what
    parts = together(config)
    rung = config.rung if config.rung != "auto" else processes.agreed(opened.facts().get("rung"))
    if rung is None:
        measured, _ = measure(config, parts, found)
        choice = choice_of(config, measured)
        print(show(choice))
        opened.note(rung=choice.rung, reasons=list(choice.reasons))
        rung = choice.rung
    opened.note(rung=rung)
    stages = ["separate"]
    if found and rung in ("full", "every"):
        parts = dataclasses.replace(parts, unpaired=heard(opened, found, parts.recognizer, config))
    if opened.main:
        note(opened, parts)

    # 5. Second stage: the language model reads what the recognizer heard
    if config.noisy and rung != "staged":
        print("second stage: noisy")
        stages += read_as_heard(opened, stage_run(opened, "noisy", config.noisy), config, parts, config.noisy)

    # 6. Third stage: all three, through the edges
    if config.joint and rung in ("full", "every"):
        print("third stage: joint")
        every = config.every if rung == "every" else 1
        rest = rest_of(config.joint, processes.agreed(opened.facts().get("pseudo_labels_seconds", 0.0)))
        stages += stage(opened, "joint", parts, MODELS, EDGES, MODELS, rest, every)

    # 7. Fourth stage: recognizer and language model stay as they are; the voice learns to be understood
    if config.finish and rung in ("full", "every"):
        print("fourth stage: finish")
        stages += stage(opened, "finish", parts, ("voice",), ("chain",), ("voice",), config.finish, 1)

    # 8. Exports anew, each behind the parity gate of its own recipe
    if len(stages) > 1:
        chat = parts.language.unsharded(opened.main)
        for part in (parts.recognizer, chat, parts.voice) if opened.main else ():
            part.export()
    opened.note(stages=stages)
    print(f"stages that dev took: {', '.join(stages)}")
    told(config)


def told(config: Config) -> None:
    """What comes next."""
    runs = " ".join(f"--{one} {getattr(config, one).run}" for one in MODELS)
    print(f"parley packs build NAME@VERSION --like PACK {runs}")


RECIPES: dict[str, Callable[..., None]] = {
    "recognizer": recognizer.run,
    "language": language.run,
    "voice": synthesizer.run,
}


def below(config: Config) -> Config:
    """The recipes' configurations with their runs below this one and the data that they share. Raises ConfigError."""
    names = [getattr(config, one).run.removeprefix(f"{config.run}/") for one in MODELS]  # config.yaml of a run has it
    if len(set(names)) < len(MODELS) or any(not name or "/" in name for name in names):
        raise ConfigError(f"run of {', '.join(MODELS)}: got {', '.join(names)}, expected three names below the run")
    data = {one: getattr(config, one).data for one in MODELS}
    if config.voice_clips:
        data["recognizer"] += tuple(name for name in config.voice.data if name not in data["recognizer"])
    if config.recognizer_clips:
        data["voice"] += tuple(name for name in config.recognizer.data if name not in data["voice"])
    run = Path(config.run)
    return dataclasses.replace(
        config,
        recognizer=dataclasses.replace(config.recognizer, run=str(run / names[0]), data=data["recognizer"]),
        language=dataclasses.replace(config.language, run=str(run / names[1])),
        voice=dataclasses.replace(config.voice, run=str(run / names[2]), data=data["voice"]),
    )


def restore_bases(opened: Run, config: Config) -> None:
    """Has the first process write the bases that are in packs; of the others transformers would write half of each."""
    if opened.main:
        recognizer.whisper_folder(config.recognizer.base, Path(config.recognizer.run) / "base")
        language.base_folder(config.language.base, Path(config.language.run))
    processes.wait()


def order(rung: str) -> Sequence[str]:
    """Which model is first: in the staged rung the voice, which the others can learn from."""
    return ("voice", "recognizer", "language") if rung == "staged" else MODELS


def note(opened: Run, parts: Parts) -> None:
    """Whose voices and words are in each of the models once they have met: those of all data."""
    own = (parts.recognizer, parts.language, parts.voice)
    sources: list[tuple[Mapping[str, Sequence[Utterance | Dialogue]], Mapping[str, str]]]
    sources = [(part.data.learnt, part.data.fingerprints) for part in own]
    if parts.unpaired:
        sources.append((parts.unpaired.learnt, parts.unpaired.fingerprints))
    heard = {
        speaker for learnt, _ in sources for rows in learnt.values() for row in rows for speaker in speakers_of(row)
    }
    for part in own:
        run = parts_of.run_of(part.config)
        facts = run.facts()
        if "joint" in facts:
            continue  # a run that is resumed
        for learnt, prints in sources:
            for name, rows in learnt.items():
                if name not in part.data.learnt:  # its own recipe has noted those
                    Ledger(Path(name).parent / LEDGER).add_run(facts["fingerprint"], prints[name], rows)
        run.note(speakers=sorted(heard.union(facts.get("speakers", ()))), joint=opened.facts()["fingerprint"])


def stage(
    opened: Run,
    name: str,
    parts: Parts,
    separate: Sequence[str],
    edges: Sequence[str],
    trained: Sequence[str],
    training: Training,
    every: int,
) -> list[str]:
    """Trains `trained` with their own losses and the edges; the stage's name where dev took it, else nothing."""
    step = Step(parts, separate=separate, edges=edges, every=every)
    models = parts_of.models_of(parts)
    trainable = {name: [p for p in model.parameters() if p.requires_grad] for name, model in models.items()}
    frozen = [p for name, own in trainable.items() if name not in (*trained, "gate") for p in own]
    for parameter in frozen:
        parameter.requires_grad_(False)
    own = stage_run(opened, name, training)
    losses = evenly(parts.language.model, step.losses)
    task = loop.Task(models, step.batch, losses, step.crossings, step.dev, vars(parts.config.rates))
    progress = loop.train(task, training, own)
    for parameter in frozen:
        parameter.requires_grad_(True)
    return [name] if next(iter(progress.best)) else []


def stage_run(opened: Run, name: str, training: Training) -> Run:
    """A run folder below the joint one."""
    own = open_run(
        opened.folder / name, f"joint {name}", training, data={}, seed=training.seed, resume=True, may_differ=()
    )
    processes.wait()  # until the first one has made it
    return own
