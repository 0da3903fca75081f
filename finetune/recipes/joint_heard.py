"""Second stage of a joint run: the language model learns from requests as the recognizer heard them.

What was heard is kept in RUN/hypotheses.json: no other model is needed from then on. Knows no edge.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence

from finetune import checkpoint, processes
from finetune.data.errors import DataError
from finetune.data.rows import Dialogue
from finetune.loop import Task, Training, evaluate, train
from finetune.recipes import language
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_losses import Step
from finetune.recipes.joint_pairs import Pair, said_in
from finetune.recipes.joint_parts import Language, Parts
from finetune.recipes.language_batches import Batches
from finetune.recipes.language_config import Rehearsal
from finetune.run import Run, write_whole


def read_as_heard(opened: Run, own: Run, config: Config, parts: Parts, training: Training) -> list[str]:
    """Trains the language model on dialogues as they were heard, beside the written ones; its name where dev took it.

    `own` is the stage's run, `opened` that of all stages.
    """
    step = Step(parts, separate=(), edges=())
    path = opened.folder / "hypotheses.json"
    if opened.main and not path.exists():
        asked = time.process_time()
        found = {split: step.transcripts(pairs) for split, pairs in splits(parts).items()}
        opened.note(hypotheses_seconds=round(time.process_time() - asked, 2))
        write_whole(path, json.dumps(found, ensure_ascii=False))
    processes.wait()
    kept = json.loads(path.read_text(encoding="utf-8"))
    heard = {
        split: [said_in(pair.dialogue, text) for pair, text in zip(pairs, kept[split], strict=True) if text]
        for split, pairs in splits(parts).items()
    }
    if not all(heard.values()):
        raise DataError("the recognizer hears nothing in the clips of dialogues, expected words to learn from")
    chat = parts.language
    task = task_of(config, chat, heard)
    began = checkpoint.weights(chat.model)
    if processes.agreed("before_on_dev" not in own.facts()):
        own.note(before_on_dev=next(iter(evaluate(task).values())))
    train(task, rest_of(training, opened.facts()["hypotheses_seconds"]), own)
    facts = processes.agreed(own.facts())
    if facts["best_on_dev"] < facts["before_on_dev"]:
        return ["noisy"]
    checkpoint.restore_weights(chat.model, began, "the weights before the stage")
    return []


def task_of(config: Config, chat: Language, heard: Mapping[str, Sequence[Dialogue]]) -> Task:
    """Dialogues of train and dev with requests as they were heard, beside the written ones."""
    mixed = dataclasses.replace(chat.config, rehearsal=Rehearsal(("heard",), config.heard_share))
    batches = Batches(mixed, chat.encoder, chat.data.train, heard["train"])
    dev = {
        name: language.encoded(chat.encoder, rows, chat.config.row_tokens)
        for name, rows in (("dev_heard_loss", heard["dev"]), ("dev_loss", chat.data.dev))
    }
    return Task(
        chat.model,
        batches.batch,
        language.loss,
        lambda model: {name: language.mean_loss(model, rows, chat.config) for name, rows in dev.items()},
    )


def rest_of(training: Training, seconds: float) -> Training:
    """With what a budget leaves once `seconds` of it went into hearing: a step at least."""
    if training.budget_seconds is None:
        return training
    return dataclasses.replace(training, budget_seconds=max(0.001, training.budget_seconds - seconds))


def splits(parts: Parts) -> dict[str, Sequence[Pair]]:
    """Pairs by split."""
    return {"train": parts.pairs.all, "dev": parts.dev_pairs}
