"""The joint recipe: recognizer, language model and voice on one language, with edges between them; three workers out.

Reads from top to bottom: `run` with its steps, then what the steps are made of. The first stage is the three separate
recipes as they are, so that every rung of the ladder, and every stage that dev refuses, leaves three exports.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finetune import checkpoint
from finetune import loop as one_loss
from finetune.data.errors import DataError
from finetune.data.ledger import NAME as LEDGER
from finetune.data.ledger import Ledger
from finetune.data.rows import Dialogue, speakers_of
from finetune.errors import ConfigError
from finetune.joint import loop
from finetune.joint.ladder import show
from finetune.joint.voice_gate import Gate
from finetune.loop import Training
from finetune.recipes import joint_parts as parts_of
from finetune.recipes import language, recognizer, synthesizer_starter
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_losses import EDGES, Step
from finetune.recipes.joint_pairs import Pair, Pairs, pairs_of, said_in
from finetune.recipes.joint_parts import Parts
from finetune.recipes.joint_rung import choice_of
from finetune.recipes.language_batches import Batches
from finetune.recipes.language_config import Rehearsal
from finetune.run import Run, open_run, write_whole

__all__ = ["Config", "run"]

MODELS = ("recognizer", "language", "voice")


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError."""
    config = below(config)
    if dry_run:
        # 1. A dry run: of the separate recipes, and of their meeting once they are done
        waiting = [one for one in order(config.rung) if not exported(getattr(config, one))]
        for one in waiting:
            print(f"{one}:")
            RECIPES[one](getattr(config, one), dry_run=True)
        if not waiting:
            print(show(choice_of(config, together(config))))
        return

    # 2. The run folder; those of the three models lie below it
    opened = open_run(
        Path(config.run),
        "joint",
        config,
        data={},
        seed=first(config).seed,
        resume=resume,
        may_differ=("run", *MODELS),
    )

    # 3. First stage: each model by itself, trained and exported as by its own recipe; each run folder looks for itself
    #    whether it is continued with the same configuration
    for one in order(config.rung):
        own = getattr(config, one)
        if facts := exported(own):
            name = facts["recipe"]
            open_run(Path(own.run), name, own, data=facts["data"], seed=own.training.seed, resume=True)
        else:
            RECIPES[one](own, resume=resume)
    if config.rung == "staged":
        opened.note(rung="staged", stages=["separate"])
        return

    # 4. All three with their best weights; who said what; the rung that fits
    parts = together(config)
    rung = config.rung if config.rung != "auto" else opened.facts().get("rung")
    if rung is None:
        choice = choice_of(config, parts)
        print(show(choice))
        opened.note(rung=choice.rung, reasons=list(choice.reasons))
        rung = choice.rung
    opened.note(rung=rung)
    stages = ["separate"]
    note(opened, parts)

    # 5. Second stage: the language model reads what the recognizer heard
    if config.noisy and rung != "staged":
        stages += read_as_heard(opened, config, parts, config.noisy)

    # 6. Third stage: all three, through the edges
    if config.joint and rung in ("full", "every"):
        every = config.every if rung == "every" else 1
        stages += stage(opened, "joint", parts, MODELS, EDGES, MODELS, config.joint, every)

    # 7. Fourth stage: recognizer and language model stay as they are; the voice learns to be understood
    if config.finish and rung in ("full", "every"):
        stages += stage(opened, "finish", parts, ("voice",), ("chain",), ("voice",), config.finish, 1)

    # 8. Exports anew, each behind the parity gate of its own recipe
    if len(stages) > 1:
        for part in (parts.recognizer, parts.language, parts.voice):
            part.export()
    opened.note(stages=stages)
    print(f"stages that dev took: {', '.join(stages)}")


RECIPES: dict[str, Callable[..., None]] = {
    "recognizer": recognizer.run,
    "language": language.run,
    "voice": synthesizer_starter.run,
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


def order(rung: str) -> Sequence[str]:
    """Which model is first: in the staged rung the voice, which the others can learn from."""
    return ("voice", "recognizer", "language") if rung == "staged" else MODELS


def first(config: Config) -> Training:
    """The training whose seed and device the whole run has."""
    return config.recognizer.training


def exported(config: Any) -> dict[str, Any]:
    """The facts of a model's own run, if that is finished; else nothing."""
    path = Path(config.run) / "facts.json"
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return facts if "parity" in facts else {}


def together(config: Config) -> Parts:
    """All models, the gate, the pairs. Raises DataError where no clip says what a user says in a dialogue."""
    heard = parts_of.load_recognizer(config.recognizer)
    chat = parts_of.load_language(config.language)
    voice = parts_of.load_voice(config.voice)
    voice.model.vocoder.requires_grad_(False)  # only its own loss, which is not here, keeps it a vocoder
    width = chat.model.get_input_embeddings().embedding_dim
    pairs = pairs_of(heard.data.train, chat.data.train)
    dev = pairs_of(heard.data.dev, chat.data.dev)
    print(f"{len(pairs)} clips say what a user says in a dialogue, {len(dev)} of dev")
    return Parts(
        config=config,
        recognizer=heard,
        language=chat,
        voice=voice,
        gate=Gate(width, voice.model.width),
        pairs=Pairs(pairs, heard.windows, config.rows, first(config).seed),
        dev_pairs=dev[: config.recognizer.dev_clips],
        texts=texts_of(config, [pair.clip.text for pair in pairs], chat.data.train),
    )


def note(opened: Run, parts: Parts) -> None:
    """Whose voices and words are in each of the models once they have met: those of all data."""
    own = (parts.recognizer, parts.language, parts.voice)
    heard = {speaker for part in own for row in part.data.train for speaker in speakers_of(row)}
    for part in own:
        run = parts_of.run_of(part.config)
        facts = run.facts()
        if "joint" in facts:
            continue  # a run that is resumed
        for other in own:
            for name, rows in other.data.learnt.items():
                if name not in part.data.learnt:  # its own recipe has noted those
                    print_of = other.data.fingerprints[name]
                    Ledger(Path(name).parent / LEDGER).add_run(facts["fingerprint"], print_of, rows)
        run.note(speakers=sorted(heard.union(facts.get("speakers", ()))), joint=opened.facts()["fingerprint"])


def texts_of(config: Config, said: Sequence[str], dialogues: Sequence[Dialogue]) -> list[str]:
    """Sentences for the chain. Raises DataError for a file without any."""
    if not config.texts:
        replies = [turn.text for row in dialogues for turn in row.turns if turn.role == "assistant"]
        return sorted({text for text in [*said, *replies] if text.strip()})
    found: list[str] = []
    for name in config.texts:
        try:
            lines = Path(name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"texts: {name} cannot be read: {error}") from error
        own = [line.strip() for line in lines if line.strip()]
        if not own:
            raise DataError(f"texts: got no line in {name}, expected sentences, one a line")
        found += own
    return sorted(set(found))


def read_as_heard(opened: Run, config: Config, parts: Parts, training: Training) -> list[str]:
    """Trains the language model on dialogues as they were heard, beside the written ones; its name where dev took it.

    What was heard is kept in RUN/hypotheses.json: no other model is needed from then on.
    """
    step = Step(parts, separate=(), edges=())
    path = opened.folder / "hypotheses.json"
    if not path.exists():
        asked = time.process_time()
        found = {split: step.transcripts(pairs) for split, pairs in splits(parts).items()}
        opened.note(hypotheses_seconds=round(time.process_time() - asked, 2))
        write_whole(path, json.dumps(found, ensure_ascii=False))
    kept = json.loads(path.read_text(encoding="utf-8"))
    heard = {
        split: [said_in(pair.dialogue, text) for pair, text in zip(pairs, kept[split], strict=True) if text]
        for split, pairs in splits(parts).items()
    }
    if not all(heard.values()):
        raise DataError("the recognizer hears nothing in the clips of dialogues, expected words to learn from")
    chat = parts.language
    mixed = dataclasses.replace(chat.config, rehearsal=Rehearsal(("heard",), config.heard_share))
    batches = Batches(mixed, chat.encoder, chat.data.train, heard["train"])
    dev = {
        name: language.encoded(chat.encoder, rows, chat.config.row_tokens)
        for name, rows in (("dev_heard_loss", heard["dev"]), ("dev_loss", chat.data.dev))
    }
    task = one_loss.Task(
        chat.model,
        batches.batch,
        language.loss,
        lambda model: {name: language.mean_loss(model, rows, chat.config) for name, rows in dev.items()},
    )
    own = stage_run(opened, "noisy", training)
    began = checkpoint.weights(chat.model)
    if "before_on_dev" not in own.facts():
        own.note(before_on_dev=next(iter(one_loss.evaluate(task).values())))
    one_loss.train(task, rest_of(training, opened.facts()["hypotheses_seconds"]), own)
    facts = own.facts()
    if facts["best_on_dev"] < facts["before_on_dev"]:
        return ["noisy"]
    checkpoint.restore_weights(chat.model, began, "the weights before the stage")
    return []


def rest_of(training: Training, seconds: float) -> Training:
    """With what a budget leaves once `seconds` of it went into hearing: a step at least."""
    if training.budget_seconds is None:
        return training
    return dataclasses.replace(training, budget_seconds=max(0.001, training.budget_seconds - seconds))


def splits(parts: Parts) -> dict[str, Sequence[Pair]]:
    """Pairs by split."""
    return {"train": parts.pairs.all, "dev": parts.dev_pairs}


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
    task = loop.Task(models, step.batch, step.losses, step.crossings, step.dev, vars(parts.config.rates))
    progress = loop.train(task, training, own)
    for parameter in frozen:
        parameter.requires_grad_(True)
    return [name] if next(iter(progress.best)) else []


def stage_run(opened: Run, name: str, training: Training) -> Run:
    """A run folder below the joint one."""
    return open_run(
        opened.folder / name, f"joint {name}", training, data={}, seed=training.seed, resume=True, may_differ=()
    )
