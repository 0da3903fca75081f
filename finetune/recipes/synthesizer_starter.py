"""The starter's kind of voice, in any language: from recordings to an exported voice, in numbered steps.

Reads from top to bottom: `run` with its steps, then what the steps are made of. B rows, T frames.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from app.packs import MANIFEST, read_pack
from finetune import checkpoint
from finetune import dry_run as estimates
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.data_of_run import utterances
from finetune.errors import ConfigError
from finetune.freezing import freeze
from finetune.loop import Task, train
from finetune.recipes import synthesizer_starter_export as exporting
from finetune.recipes.synthesizer_starter_config import Config
from finetune.recipes.synthesizer_starter_data import Batches, Reading, items_of, reading_of, recordings_of, voices_of
from finetune.run import fingerprint, open_run
from finetune.starter.voice_acoustic import WEIGHTS, Acoustic, Item, batch_losses, collate
from finetune.starter.voice_alignment import aligned
from finetune.starter.voice_corpus import Recording, extract, load
from finetune.starter.voice_restore import FILES, restored
from finetune.starter.voice_vocoder import FilterNetwork, Scale, Voiced, scale_of, stretches, vocoder_loss

__all__ = ["Config", "run"]

TRIED = 2
"""Batches of recordings that a dry run looks at."""
DEV_STRETCHES = 4
"""Batches of stretches of dev that the vocoder is measured on."""


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError."""
    # 1. Whose recordings, and how their texts are read
    checkpoint.seed_everything(config.training.seed)
    data = utterances(config.data, config.training)
    voices = voices_of(config, data.train)
    train_rows, dev_rows = ([row for row in rows if row.speaker in voices] for rows in (data.train, data.dev))
    reading = reading_of(config, [*train_rows, *dev_rows])
    print(
        f"{len(train_rows)} recordings, {sum(row.duration_s for row in train_rows) / 60:.0f} minutes; voices "
        f"{', '.join(voices)}; {len(reading.front.symbols)} symbols"
    )

    # 2. Networks: the base's, or new ones
    acoustic, vocoder = networks(config, reading.front.symbols, len(voices))

    # 3. A dry run looks at a few recordings, and ends here
    if dry_run:
        few = recordings_of(tried([*train_rows, *dev_rows], config))
        with tempfile.TemporaryDirectory() as folder:
            corpus = Corpus(Path(folder), few, reading, voices)
            for name, task, training in (
                ("vocoder", corpus.vocoder_task(vocoder, config), config.vocoder),
                ("acoustic model", corpus.acoustic_task(acoustic, config), config.training),
            ):
                print(f"{name}\n{estimates.show(estimates.estimate(task, training), training)}")
        return

    # 4. The run folder; the ledger learns whose voice is in it
    files = {"lexicon": Path(config.lexicon)} if config.lexicon else {}
    files |= {f"base {name}": voice_folder(config.base) / name for name in FILES} if config.base else {}
    made_of = {**data.fingerprints, **{name: fingerprint(path) for name, path in files.items()}}
    opened = open_run(Path(config.run), "synthesizer", config, data=made_of, seed=config.training.seed, resume=resume)
    data.note(opened)

    # 5. Level, mel spectrum and pitch of each recording, and which frames its letters take
    from accelerate import PartialState

    with PartialState(cpu=config.training.device == "cpu").main_process_first():
        corpus = Corpus(opened.folder, recordings_of([*train_rows, *dev_rows]), reading, voices)

    # 6. The vocoder: mel spectrum and pitch to samples; a run folder of its own in RUN/vocoder
    training = config.vocoder
    own = open_run(
        opened.folder / "vocoder", "synthesizer", training, data={}, seed=training.seed, resume=True, may_differ=()
    )
    train(corpus.vocoder_task(vocoder, config), training, own)

    # 7. The acoustic model: symbols to durations, pitch and mel spectrum
    task = corpus.acoustic_task(acoustic, config)
    train(task, config.training, opened)

    # 8. Export, proved by the service's own engine on texts of dev
    if opened.main:
        exporting.export(opened, acoustic, vocoder, corpus.scale, reading, voices, dev_rows, config.export, task)


def tried(rows: Sequence[Utterance], config: Config) -> list[Utterance]:
    """A few of train and of dev: enough to measure what a step takes."""
    splits = ([row for row in rows if row.split == split] for split in ("train", "dev"))
    return [row for own in splits for row in own[: TRIED * config.batch]]


def networks(config: Config, symbols: Sequence[str], speakers: int) -> tuple[Acoustic, FilterNetwork]:
    """From the base, or from nothing in the sizes of the configuration. Raises ConfigError."""
    size = config.size
    if config.base:
        acoustic, vocoder = restored(voice_folder(config.base), symbols, speakers)
    else:
        acoustic = Acoustic(size.width, size.encoder, size.tone, size.decoder, symbols=len(symbols), speakers=speakers)
        vocoder = FilterNetwork(size.width, size.vocoder)
    parts = {"acoustic": acoustic, "vocoder": vocoder}
    freeze({f"{part}.{name}": w for part, own in parts.items() for name, w in own.named_parameters()}, config.frozen)
    for part, network in parts.items():
        if not any(weight.requires_grad for weight in network.parameters()):
            raise ConfigError(f"frozen: got {', '.join(config.frozen)}, which leaves {part} no weight to train")
    return acoustic, vocoder


def voice_folder(base: str) -> Path:
    """The voice's folder of a base, which may be a pack."""
    folder = Path(base)
    return read_pack(folder).voice_folder if (folder / MANIFEST).is_file() else folder


class Corpus:
    """Recordings with features and alignment; both are kept in the folder, and taken from there where they are."""

    def __init__(self, folder: Path, recordings: Sequence[Recording], reading: Reading, voices: Sequence[str]) -> None:
        """Raises DataError that lists recordings that are too short for their texts."""
        self._features = folder / "features"
        extract(list(recordings), self._features)
        clips = list(load(self._features))
        found = aligned(clips, reading.front, folder / "alignment.json")
        learnt = [clip for clip in clips if clip.recording.split == "train"]
        self.scale: Scale = scale_of(learnt)
        self._items: dict[str, list[Item]] = {
            split: items_of(
                [clip for clip in clips if clip.recording.split == split], found, self.scale, reading.front, voices
            )
            for split in ("train", "dev")
        }

    def vocoder_task(self, network: FilterNetwork, config: Config) -> Task:
        """Random stretches of recordings, made again."""
        seed = config.vocoder.seed
        try:
            drawn, dev = (
                stretches(self._voiced(split), self.scale, batch=config.batch, seed=seed) for split in ("train", "dev")
            )
        except ValueError as error:
            raise DataError(f"the vocoder cannot learn from this: {error}") from error

        def loss(model: nn.Module, batch: Sequence[Tensor]) -> tuple[Tensor, float]:
            return vocoder_loss(model, batch) * len(batch[0]), len(batch[0])

        def on_dev(model: nn.Module) -> Mapping[str, float]:
            device = next(model.parameters()).device
            batches = [[part.to(device) for part in dev(number)] for number in range(DEV_STRETCHES)]
            return {"dev_loss": sum(float(vocoder_loss(model, batch)) for batch in batches) / len(batches)}

        return Task(network, drawn, loss, on_dev)

    def acoustic_task(self, network: Acoustic, config: Config) -> Task:
        """Utterances of about one length."""
        batches = Batches(self._items["train"], config.batch, config.training.seed)
        dev = [self._items["dev"][i : i + config.batch] for i in range(0, len(self._items["dev"]), config.batch)]

        def loss(model: nn.Module, batch: Sequence[Tensor]) -> tuple[Tensor, float]:
            parts = batch_losses(model, batch)
            total = torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
            return total * len(batch[0]), len(batch[0])

        def on_dev(model: nn.Module) -> Mapping[str, float]:
            device = next(model.parameters()).device
            sums = {"dev_loss": 0.0, **{f"dev_{name}": 0.0 for name in WEIGHTS}}
            for items in dev:
                parts = batch_losses(model, [part.to(device) for part in collate(items)])
                for name, part in parts.items():
                    sums[f"dev_{name}"] += float(part) * len(items)
                    sums["dev_loss"] += WEIGHTS[name] * float(part) * len(items)
            return {name: total / sum(len(items) for items in dev) for name, total in sums.items()}

        return Task(network, batches.batch, loss, on_dev)

    def _voiced(self, split: str) -> list[Voiced]:
        return [Voiced(self.scale.mel(clip.mel), clip.pitch, clip.pcm) for clip in load(self._features, split)]
