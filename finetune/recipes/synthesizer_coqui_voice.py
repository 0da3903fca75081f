"""A Coqui checkpoint as a voice that can be trained: its networks, grown to the data's letters and speakers.

Knows no training. Coqui's own way of loading follows paths and unpickles; this is the engine's way (`app/workers`).
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from app.errors import PackError
from app.packs import MANIFEST, read_pack
from app.workers.coqui_convert import convert, discriminator_weights
from app.workers.coqui_folder import CONFIG, LANGUAGES, SPEAKERS, WEIGHTS, fill, read_config
from app.workers.coqui_vits_network import MMS_VOCABULARY, build_vits
from finetune.data.rows import Utterance
from finetune.errors import ConfigError
from finetune.run import fingerprint

SETTINGS = (CONFIG, SPEAKERS, LANGUAGES, MMS_VOCABULARY)
LETTERS_WEIGHT, SPEAKERS_WEIGHT = "text_encoder.emb.weight", "emb_g.weight"
"""One row a letter, one a speaker."""
NEW_WITH_SPEAKERS = ("cond", "emb_g")
"""In names of weights that only a network of several speakers has."""


@dataclass(frozen=True)
class Voice:
    """What is trained, and how its folder is written."""

    model: Any
    """Coqui's `Vits`, without its discriminator."""
    discriminator: nn.Module
    names: tuple[str, ...]
    """Speakers as voices, the first is the default."""
    files: dict[str, str]
    """Settings by file name; with the weights they are a voice folder."""
    fingerprint: str
    """Of the base."""

    def tokens(self, text: str, language: str) -> list[int]:
        """What the network reads, by its own cleaner, phonemizer and alphabet."""
        found: list[int] = self.model.tokenizer.text_to_ids(text, language=language if self.languages else None)
        return found

    @property
    def speakers(self) -> dict[str, int]:
        """Numbers of speakers; empty where there is but one."""
        manager = self.model.speaker_manager
        return dict(manager.name_to_id) if manager is not None else {}

    @property
    def languages(self) -> dict[str, int]:
        """Numbers of languages, where the network tells them apart."""
        uses = self.model.args.use_language_embedding
        return dict(self.model.language_manager.name_to_id) if uses else {}


def load(base: str, rows: Sequence[Utterance], speakers: Sequence[str], *, extend: bool) -> Voice:
    """The base with every letter and speaker of the rows. Raises ConfigError, PackError.

    Letters that are new need `extend`. Signs that the base does not know are no error: they drop out, as they do when
    the voice is served.
    """
    from TTS.tts.layers.vits.discriminator import VitsDiscriminator

    logging.getLogger("TTS").setLevel(logging.ERROR)  # it logs every text that has an unknown character
    with tempfile.TemporaryDirectory() as place:
        source, folder = base_folder(base), Path(place) / "old"
        _settle(source, folder)
        old = build_vits(folder)
        begun = (folder / WEIGHTS).is_file()
        if begun:
            fill(old, folder)
        names = tuple(speakers) or _by_speech(rows)
        letters = _unknown(old, rows)
        if letters and not extend:
            raise ConfigError(
                f"base: {base} cannot spell {' '.join(letters)}, expected all letters of the data; "
                f"extend_characters=true adds them"
            )
        grown = Path(place) / "new"
        _write_settings(old, folder, grown, letters, names)
        model = build_vits(grown)
        if unknown := _unknown(model, rows):
            raise ConfigError(f"base: {base} takes no further letters, got {' '.join(unknown)}")
        if begun:
            _inherit(model, old)
        args = model.args
        discriminator = VitsDiscriminator(
            periods=args.periods_multi_period_discriminator, use_spectral_norm=args.use_spectral_norm_disriminator
        )
        if source.is_dir() and (learnt := discriminator_weights(source)):
            discriminator.load_state_dict(learnt)
        files = {name: (grown / name).read_text("utf-8") for name in SETTINGS if (grown / name).is_file()}
        return Voice(model, discriminator, names, files, fingerprint(folder / (WEIGHTS if begun else CONFIG)))


def base_folder(base: str) -> Path:
    """The folder, or the config.json, of a base; one of the hub is fetched. Raises ConfigError."""
    path = Path(base)
    if (path / MANIFEST).is_file():
        return read_pack(path).voice_folder
    if path.exists():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    owner, _, rest = base.partition("/")
    name, _, below = rest.partition("/")
    try:
        found = snapshot_download(f"{owner}/{name}", allow_patterns=[f"{below}/*"] if below else None)
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(f"base: got {base!r}, expected a folder or the name of a model: {error}") from error
    return Path(found) / below


def _settle(source: Path, folder: Path) -> None:
    """The base as a voice folder; without weights where it has none. Raises PackError."""
    folder.mkdir()
    if source.is_file():
        shutil.copyfile(source, folder / CONFIG)
    elif list(source.glob("*.pth*")):
        convert(source, folder)
    else:
        for name in (*SETTINGS, WEIGHTS):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)


def _by_speech(rows: Sequence[Utterance]) -> tuple[str, ...]:
    seconds: dict[str, float] = {}
    for row in rows:
        seconds[row.speaker] = seconds.get(row.speaker, 0.0) + row.duration_s
    return tuple(sorted(seconds, key=lambda name: (-seconds[name], name)))


def _unknown(model: Any, rows: Sequence[Utterance]) -> list[str]:
    """Letters, marks and digits that the network has no row for. Raises ConfigError for an unknown language."""
    known = model.language_manager.name_to_id if model.args.use_language_embedding else {}
    if known and (strange := sorted({row.language for row in rows} - set(known))):
        raise ConfigError(f"base: it speaks {', '.join(sorted(known))}, the data has {', '.join(strange)}")
    for row in rows:
        model.tokenizer.text_to_ids(row.text, language=row.language if known else None)
    return sorted(c for c in model.tokenizer.not_found_characters if unicodedata.category(c)[0] in "LMN")


def _write_settings(old: Any, folder: Path, grown: Path, letters: Sequence[str], names: Sequence[str]) -> None:
    """The voice folder's settings, with new letters and speakers. Raises ConfigError."""
    grown.mkdir()
    numbers = dict(old.speaker_manager.name_to_id) if old.speaker_manager is not None else {}
    several = bool(numbers) or len(names) > 1
    if (folder / MMS_VOCABULARY).is_file():
        if several:
            raise ConfigError(f"speakers: got {', '.join(names)}, expected one: a voice of MMS has no others")
        shutil.copyfile(folder / CONFIG, grown / CONFIG)
        lines = (folder / MMS_VOCABULARY).read_text("utf-8").removesuffix("\n").split("\n")
        (grown / MMS_VOCABULARY).write_text("".join(f"{line}\n" for line in [*lines, *letters]), encoding="utf-8")
        return
    values = read_config(folder, "vits")
    for table in (values, values["model_args"]):
        for key in ("speakers_file", "language_ids_file", "speakers"):
            table.pop(key, None)  # the folder's own files say it
    if (folder / LANGUAGES).is_file():
        shutil.copyfile(folder / LANGUAGES, grown / LANGUAGES)
    if several:
        for name in names:
            numbers.setdefault(name, len(numbers))
        values["model_args"] |= {"use_speaker_embedding": True, "num_speakers": len(numbers)}
        (grown / SPEAKERS).write_text(json.dumps(numbers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if letters:
        characters = dict(old.config.characters.to_dict())
        reads_phones = str(characters["characters_class"]).endswith("IPAPhonemes") and characters.get("phonemes")
        key = "phonemes" if reads_phones else "characters"
        characters[key] = (characters.get(key) or "") + "".join(letters)
        values["characters"] = characters
    (grown / CONFIG).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _inherit(model: Any, old: Any) -> None:
    """The old weights; new letters, and new speakers and what listens to them, stay as they began."""
    state, learnt = model.state_dict(), old.state_dict()
    for name in learnt.keys() - {LETTERS_WEIGHT, SPEAKERS_WEIGHT}:
        state[name] = learnt[name]
    before, after = old.tokenizer.characters, model.tokenizer.characters
    for letter in before.vocab:
        state[LETTERS_WEIGHT][after.char_to_id(letter)] = learnt[LETTERS_WEIGHT][before.char_to_id(letter)]
    if SPEAKERS_WEIGHT in learnt:
        state[SPEAKERS_WEIGHT][: len(learnt[SPEAKERS_WEIGHT])] = learnt[SPEAKERS_WEIGHT]
    fresh = [name for name in state.keys() - learnt.keys() if not any(part in name for part in NEW_WITH_SPEAKERS)]
    if fresh:
        raise PackError(f"the base lacks the weights {', '.join(sorted(fresh)[:5])}")
    model.load_state_dict(state)


def weights_of(voice: Voice) -> dict[str, torch.Tensor]:
    """Tensors as a voice folder has them."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in voice.model.state_dict().items()}
