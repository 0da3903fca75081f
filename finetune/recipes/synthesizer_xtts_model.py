"""An XTTS that can be trained: its networks, and clips as it hears them. Knows no training.

B clips of a batch, T tokens, S samples at 22 050 Hz.
"""

from __future__ import annotations

import pickle
import random
import shutil
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor

from app.audio import Waveform
from app.workers.coqui_convert import convert
from app.workers.coqui_folder import CONFIG, WEIGHTS
from app.workers.coqui_xtts import REFERENCE_RATE, VOCABULARY, read_xtts
from finetune.data import recording
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.errors import ConfigError
from finetune.recipes.synthesizer_coqui_voice import base_folder
from finetune.recipes.synthesizer_xtts_config import Config
from finetune.run import fingerprint
from finetune.sampling import Epochs, bucketed

SHORTEST_S, PROMPT_S = 0.5, 6.0
"""Seconds of a clip that can be learnt from, and of the clip that says in which voice; as Coqui trains XTTS."""
CODES = "dvae.pth"
MEL = {"win_length": 1024, "hop_length": 256, "power": 2, "normalized": False, "sample_rate": REFERENCE_RATE}


@dataclass(frozen=True)
class Base:
    """What is trained, and how its folder is written."""

    model: Any
    """Coqui's `Xtts`; its `gpt` is trained."""
    codes: Any
    """Coqui's `DiscreteVAE`: log-mel spectra to audio codes."""
    files: dict[str, bytes]
    """Settings by file name; with the weights they are a voice folder."""
    fingerprint: str

    def tokens(self, row: Utterance) -> list[int]:
        """What the network reads of a text, as the engine has it read."""
        found: list[int] = self.model.tokenizer.encode(row.text.strip().lower(), lang=row.language)
        return found

    def mel(self, waves: Tensor, n_fft: int) -> Tensor:
        """Log-mel spectra [B, 80, frames] of [B, S], as the network was trained on: 1024 points for codes, 2048 for
        the voice."""
        from TTS.tts.models.xtts import wav_to_mel_cloning

        made: Tensor = wav_to_mel_cloning(
            waves, mel_norms=self.model.mel_stats.to(waves.device), device=waves.device, n_fft=n_fft, **MEL
        )
        return made


def load(folder: str, rows: Sequence[Utterance]) -> Base:
    """The checkpoint. Raises ConfigError, also where it does not know a language or letter of the rows; PackError."""
    source = base_folder(folder)
    if not (source / CODES).is_file():
        raise ConfigError(
            f"base: {folder} has no {CODES}, expected it beside XTTS's model.pth: it makes codes of audio"
        )
    with tempfile.TemporaryDirectory() as place:
        voice = Path(place)
        if (source / WEIGHTS).is_file():
            for name in (CONFIG, VOCABULARY, WEIGHTS):
                shutil.copyfile(source / name, voice / name)
        else:
            convert(source, voice)
        model = read_xtts(voice)
        files = {name: (voice / name).read_bytes() for name in (CONFIG, VOCABULARY)}
        base = Base(model, codes_of(model.args), files, fingerprint(voice / WEIGHTS))
    try:
        weights = torch.load(source / CODES, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"base: {source / CODES} is no checkpoint of tensors: {error}") from error
    if lacking := base.codes.load_state_dict(weights, strict=False).missing_keys:
        raise ConfigError(f"base: {source / CODES} lacks the weights {', '.join(lacking[:5])}")
    if not model.args.gpt_use_perceiver_resampler:
        raise ConfigError(f"base: {folder} is XTTS v1, expected v2 (gpt_use_perceiver_resampler)")
    _check_spelling(base, rows)
    return base


def codes_of(args: Any) -> Any:
    """The network that makes codes of audio, of the size that Coqui trains XTTS with."""
    from TTS.tts.layers.xtts.dvae import DiscreteVAE

    made = DiscreteVAE(
        channels=80,
        normalization=None,
        positional_dims=1,
        num_tokens=args.gpt_num_audio_tokens - 2,
        codebook_dim=512,
        hidden_dim=512,
        num_resnet_blocks=3,
        kernel_size=3,
        num_layers=2,
        use_transposed_convs=False,
    )
    return made.eval().requires_grad_(False)


def _check_spelling(base: Base, rows: Sequence[Utterance]) -> None:
    known = {str(language) for language in base.model.config.languages}
    if strange := sorted({row.language for row in rows if row.language.split("-")[0] not in known}):
        raise ConfigError(f"base: it speaks {', '.join(sorted(known))}, the data has {', '.join(strange)}")
    tokenizer = base.model.tokenizer
    texts = {tokenizer.preprocess_text(row.text.strip().lower(), row.language.split("-")[0]) for row in rows}
    letters = {letter for text in texts for letter in text if unicodedata.category(letter)[0] in "LMN"}
    unknown = tokenizer.tokenizer.token_to_id("[UNK]")
    if strange := sorted(letter for letter in letters if unknown in tokenizer.tokenizer.encode(letter).ids):
        raise ConfigError(f"base: it cannot spell {' '.join(strange)}, expected all letters of the data")


class Batches:
    """Clips by number, each with another clip of its speaker, which says in which voice; all from (seed, epoch)."""

    def __init__(self, base: Base, rows: Sequence[Utterance], config: Config, split: str) -> None:
        """Raises DataError where no clip can be learnt from."""
        self._base, self._config = base, config
        args = base.model.args
        room_s = (args.gpt_max_audio_tokens - 4) * args.gpt_code_stride_len / REFERENCE_RATE
        longest = min(config.longest_s, room_s)
        fits = [row for row in rows if SHORTEST_S <= row.duration_s <= longest]
        self.rows = [row for row in fits if len(base.tokens(row)) < args.gpt_max_text_tokens]
        if not self.rows:
            raise DataError(
                f"{', '.join(config.data)}: got no clip of split {split} of {SHORTEST_S:g} to {longest:.1f} s, "
                f"expected some"
            )
        self._left_out = len(rows) - len(self.rows)
        self._of_speaker: defaultdict[str, list[Utterance]] = defaultdict(list)
        for row in self.rows:
            self._of_speaker[row.speaker].append(row)
        self._epochs = Epochs(self._plan)

    def summary(self) -> str:
        """What there is to learn from, in a line."""
        minutes = sum(row.duration_s for row in self.rows) / 60
        left = f"; left out: {self._left_out} too short or too long" if self._left_out else ""
        return f"{len(self.rows)} clips, {minutes:.1f} minutes, {len(self._of_speaker)} speakers{left}"

    def batch(self, number: int) -> dict[str, Tensor]:
        """The batch of a number; see `tensors`."""
        epoch, rows = self._epochs.find(number)
        return self.tensors(rows, random.Random(f"{self._config.training.seed} {epoch} {number}"))

    def all(self) -> list[list[Utterance]]:
        """Every clip once, those of about one length together."""
        rows = sorted(self.rows, key=lambda row: row.duration_s)
        return [rows[i : i + self._config.rows] for i in range(0, len(rows), self._config.rows)]

    def tensors(self, rows: Sequence[Utterance], rng: random.Random) -> dict[str, Tensor]:
        """text [B, T], wave [B, S], their lengths [B], and prompt [B, S]: as long in all rows, so none has padding."""
        waves, tokens = [waveform(row) for row in rows], [self._base.tokens(row) for row in rows]
        prompts = [waveform(self._other(row, rng)) for row in rows]
        heard = min(min(map(len, prompts)), round(PROMPT_S * REFERENCE_RATE))
        starts = [rng.randint(0, len(prompt) - heard) for prompt in prompts]
        made = {
            "text": torch.zeros((len(rows), max(map(len, tokens))), dtype=torch.long),
            "text_lengths": torch.tensor([len(one) for one in tokens]),
            "wave": torch.zeros((len(rows), max(map(len, waves)))),
            "wave_lengths": torch.tensor([len(wave) for wave in waves]),
            "prompt": torch.stack(
                [torch.from_numpy(p[at : at + heard]) for p, at in zip(prompts, starts, strict=True)]
            ),
        }
        for i, (one, wave) in enumerate(zip(tokens, waves, strict=True)):
            made["text"][i, : len(one)] = torch.tensor(one)
            made["wave"][i, : len(wave)] = torch.from_numpy(wave)
        return made

    def _other(self, row: Utterance, rng: random.Random) -> Utterance:
        others = [other for other in self._of_speaker[row.speaker] if other is not row]
        return rng.choice(others or [row])

    def _plan(self, epoch: int) -> list[list[Utterance]]:
        rng = random.Random(f"{self._config.training.seed} {epoch}")
        lengths = [round(1000 * row.duration_s) for row in self.rows]
        return [[self.rows[i] for i in batch] for batch in bucketed(lengths, self._config.rows, rng)]


def waveform(row: Utterance) -> Waveform:
    """float32 [S]."""
    heard = recording.decode(Path(row.audio).read_bytes(), row.start_s, row.end_s)
    wave: Waveform = heard.waveform
    if heard.rate != REFERENCE_RATE:
        wave = soxr.resample(heard.waveform, heard.rate, REFERENCE_RATE).astype(np.float32)
    return wave
