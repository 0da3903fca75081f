"""The recognizer recipe: a Whisper on recordings of a language or a domain, exported for the recognizer worker.

Reads from top to bottom: `run` with its steps, then what the steps are made of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.packs import MANIFEST, read_pack
from app.workers.base_hash import base_sha256
from app.workers.whisper_decoder import whisper_code
from app.workers.whisper_windows import WINDOW_SECONDS, Windows
from finetune import checkpoint
from finetune import dry_run as estimates
from finetune.base_folder import base_folder
from finetune.data.augmenting import noise_files
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.data_of_run import utterances
from finetune.errors import ConfigError
from finetune.evaluate.normal import base_language
from finetune.loop import Task, train
from finetune.recipes import recognizer_export as export
from finetune.recipes.recognizer_average import average, weights_of
from finetune.recipes.recognizer_batches import Batches
from finetune.recipes.recognizer_clips import Features
from finetune.recipes.recognizer_config import Config
from finetune.recipes.recognizer_measure import Dev, loss, spread
from finetune.recipes.recognizer_model import Network, add_token, load, prepare
from finetune.recipes.recognizer_rows import Encoder, check_spelling
from finetune.restore_whisper import restore
from finetune.run import fingerprint, open_run

__all__ = ["Config", "run"]


def run(config: Config, *, dry_run: bool = False, resume: bool = False) -> None:
    """Trains and exports, or says what that would take. Raises ConfigError, DataError, FinetuneError."""
    # 1. Data: what is learnt, what is rehearsed, and the dev split that decides
    checkpoint.seed_everything(config.training.seed)
    new, old = (utterances(manifests, config.training) for manifests in (config.data, config.rehearsal.data))
    language = language_of([*new.train, *new.dev])

    # 2. The base, with a token for the language, and what of it is trained
    with tempfile.TemporaryDirectory() as scratch:
        base = whisper_folder(config.base, Path(scratch if dry_run else config.run) / "base")
        network, tokenizer = load(base, config)
        check_spelling(base, [row.text for row in [*new.train, *new.dev]], config.text)
        code = language_code(tokenizer.backend_tokenizer, network.multilingual, language, config)
        if config.new_token_like:
            tokenizer = add_token(network, base, f"<|{code}|>", f"<|{config.new_token_like}|>")
    before = weights_of(network) if config.export.average.shares else {}
    network = prepare(network, config)
    encoder = Encoder(tokenizer.backend_tokenizer, network.multilingual, config.text, {language: code})

    # 3. Batches, and what is measured on dev: windows as the service cuts them
    mels = network.whisper.config.num_mel_bins
    learnt, rehearsed = (usable(rows, encoder, network, config) for rows in (new.train, old.train))
    if not learnt:
        raise DataError(f"got no clip of split train within {WINDOW_SECONDS} s, expected some")
    batches = Batches(config, encoder, Features(config, mels), learnt, rehearsed)
    print(batches.summary())
    windows = Windows(mels, round(config.margin_seconds * 100) if config.audio_context == "own" else None)
    dev = [
        Dev(name, spread(rows, config.dev_clips), windows, encoder, config.rows)
        for name, rows in (("dev", new.dev), ("old_dev", old.dev))
        if rows
    ]
    task = Task(network, batches.batch, loss, lambda _: measured(dev, network))

    # 4. A dry run ends here
    if dry_run:
        print(estimates.show(estimates.estimate(task, config.training), config.training))
        return

    # 5. The run folder; the ledger learns whose voices are in it
    noises = noise_files(Path(config.augment.noise)) if config.augment.noise else ()
    data = {**new.fingerprints, **old.fingerprints, **{str(path): fingerprint(path) for path in noises}}
    data["base"] = base_sha256(base)
    opened = open_run(Path(config.run), "recognizer", config, data=data, seed=config.training.seed, resume=resume)
    for part in (new, old):
        part.note(opened)

    # 6. Training, from the checkpoint where there is one; leaves the best weights in the model
    train(task, config.training, opened)

    # 7. Weights between these and the base's, where they are asked for; export, proved against the trainer on dev
    if opened.main:
        if before:
            opened.note(average=average(network, before, config.export.average, lambda: measured(dev, network)))
        export.export(opened, network, tokenizer, encoder, new.dev, windows, base, language, code, config)


def measured(dev: Sequence[Dev], network: Network) -> Mapping[str, float]:
    """All measures; the first one is the error rate on dev, which decides."""
    return {name: value for one in dev for name, value in one.measure(network).items()}


def whisper_folder(base: str, restored: Path) -> Path:
    """The Hugging Face folder of a base; a pack's recognizer is put into `restored`. Raises ConfigError, PackError."""
    if (Path(base) / MANIFEST).is_file():
        return restore(read_pack(Path(base)).recognizer_folder, restored)
    return base_folder(base)


def language_of(rows: Sequence[Utterance]) -> str:
    """The one language of the data. Raises DataError for several: a pack has one."""
    found = sorted({base_language(row.language) for row in rows})
    if len(found) != 1:
        raise DataError(f"data: got clips in {', '.join(found)}, expected one language; others belong into rehearsal")
    return found[0]


def language_code(vocabulary: Any, multilingual: bool, language: str, config: Config) -> str:
    """Whose token the prompt names; with new_token_like one that the vocabulary (a library tokenizer) has not yet.

    Raises ConfigError where there is none. A vocabulary for English alone has no languages in its prompts: whatever
    is trained on it is served as if it were English.
    """
    asked = config.language_token or config.new_token_like
    if not multilingual:
        if asked:
            raise ConfigError(
                f"language_token, new_token_like: got {asked!r}, expected none: prompts of this base name no language"
            )
        return "en"
    own = whisper_code(language)
    known = vocabulary.token_to_id(f"<|{own}|>") is not None
    if config.language_token:
        if vocabulary.token_to_id(f"<|{config.language_token}|>") is None:
            raise ConfigError(f"language_token: the vocabulary has no language {config.language_token!r}")
        return config.language_token
    if config.new_token_like and known:
        raise ConfigError(f"new_token_like: the vocabulary has language {own!r} already, expected none")
    if not known and not config.new_token_like:
        raise ConfigError(
            f"the vocabulary has no language {own!r}: language_token=CODE has the token of another language stand in, "
            f"new_token_like=CODE adds one that begins as a copy of it"
        )
    return own


def usable(rows: Sequence[Utterance], encoder: Encoder, network: Network, config: Config) -> list[Utterance]:
    """Without clips that do not fit into one window, audio or text; says how many those are."""
    positions = network.whisper.config.max_target_positions
    short = [row for row in rows if row.duration_s <= WINDOW_SECONDS]
    fitting = [row for row in short if len(encoder.target(row).given) <= positions]
    if left_out := len(rows) - len(fitting):
        print(f"{left_out} of {len(rows)} clips left out: longer than {WINDOW_SECONDS} s or {positions} tokens")
    return fitting
