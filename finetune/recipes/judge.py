"""The judge recipe: a small CTC recognizer that tells whether a voice is understood, trained apart from that voice.

It serves nobody: `parley evaluate --judge` asks it, and only where `finetune/evaluate/judge.py` finds that it may.
Reads from top to bottom: `run` with its steps, then what the steps are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from finetune import checkpoint
from finetune import dry_run as estimates
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.data_of_run import utterances
from finetune.errors import ParityError
from finetune.evaluate.ctc_judge import Facts, load, write
from finetune.evaluate.normal import base_language, characters
from finetune.judge_network import BLANK, JudgeNetwork, features, heard
from finetune.loop import Task, train
from finetune.measure import wer
from finetune.recipes.judge_batches import Batches, label, usable
from finetune.recipes.judge_config import Config
from finetune.recipes.recognizer import language_of
from finetune.recipes.recognizer_clips import pcm_of
from finetune.recipes.recognizer_measure import spread
from finetune.run import Run, open_run

__all__ = ["Config", "run"]

TOLD = ("recipe", "fingerprint", "ancestors", "data", "seed", "speakers")
"""Facts of the run that show from which voices a judge was trained apart."""


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError."""
    # 1. Data: clips, and the letters that their texts are written in
    checkpoint.seed_everything(config.training.seed)
    data = utterances(config.data, config.training)
    language = language_of([*data.train, *data.dev])
    letters = "".join(sorted({letter for row in data.train for letter in label(row)}))
    learnt = usable(data.train, letters)
    if not learnt:
        raise DataError(f"{', '.join(config.data)}: got no clip of split train that can be learnt, expected some")

    # 2. The network, from nothing
    network = JudgeNetwork(len(letters), config.width, config.layers, config.dropout)

    # 3. Batches, and dev: clip by clip, as it will judge
    print(f"{len(learnt)} clips of {sum(row.duration_s for row in learnt) / 3600:.2f} h, letters {letters!r}")
    batches = Batches(config, letters, learnt)
    dev = Dev(spread(data.dev, config.dev_clips), letters)
    task = Task(network, batches.batch, loss, lambda _: dev.measure(network))

    # 4. A dry run ends here
    if dry_run:
        print(estimates.show(estimates.estimate(task, config.training), config.training))
        return

    # 5. The run folder; the ledger learns whose voices are in it
    opened = open_run(
        Path(config.run), "judge", config, data=data.fingerprints, seed=config.training.seed, resume=resume
    )
    data.note(opened)

    # 6. Training, from the checkpoint where there is one; leaves the best weights in the model
    train(task, config.training, opened)

    # 7. Export, proved: loaded anew it hears every clip of dev as the trainer does
    if opened.main:
        export(opened, network.cpu(), config, language, letters, dev)


class Dev:
    """Clips that decide which weights are best."""

    def __init__(self, clips: Sequence[Utterance], letters: str) -> None:
        self._texts = [label(clip) for clip in clips]
        self._letters = letters
        self._mels: list[NDArray[np.float32]] = [features(pcm_of(clip)) for clip in clips]

    def texts(self, network: JudgeNetwork) -> list[str]:
        """What is heard in each clip."""
        return [heard(network, mel, self._letters) for mel in self._mels]

    def measure(self, network: JudgeNetwork) -> Mapping[str, float]:
        """Character error rate in 0..1."""
        pairs = zip(self._texts, self.texts(network), strict=True)
        return {"dev_cer": wer([(characters(said), characters(got)) for said, got in pairs])}


def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, float]:
    """CTC's summed loss, and how many letters that is of."""
    logs = model(batch["mels"]).transpose(0, 1)  # [S, B, L]
    summed = functional.ctc_loss(
        logs, batch["letters"], batch["steps"], batch["lengths"], blank=BLANK, reduction="sum", zero_infinity=True
    )
    return summed, float(len(batch["letters"]))


def export(run: Run, network: JudgeNetwork, config: Config, language: str, letters: str, dev: Dev) -> None:
    """Writes EXPORT/judge, and notes its parity. Raises ParityError, with nothing left."""
    network = network.eval()
    known = run.facts()
    facts = Facts(
        name=Path(config.run).name,
        language=base_language(language),
        letters=letters,
        width=config.width,
        layers=config.layers,
        training={name: known[name] for name in TOLD if name in known},
    )
    folder = run.export / "judge"
    write(folder, network, facts)
    expected, found = dev.texts(network), dev.texts(load(folder)[1])
    same = sum(ours == theirs for ours, theirs in zip(expected, found, strict=True))
    if same < len(expected):
        (folder / "judge.json").unlink()
        raise ParityError(f"judge: {len(expected) - same} of {len(expected)} clips are heard otherwise, expected none")
    parity = {"clips": len(expected), "same": same, "ties": 0, "refused": 0, "limit": 0.0}
    run.note(export=["judge"], parity={"judge": parity})
    print(f"{folder}: {same} of {same} clips are heard as by the trainer; CER of dev {known['best_on_dev']:.3f}")
