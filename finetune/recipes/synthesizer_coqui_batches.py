"""Which clips a Coqui voice learns from in which batch. Knows no loss.

B clips of a batch, T tokens, S samples.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
from torch import Tensor

from finetune.data import recording
from finetune.data.errors import DataError
from finetune.data.rows import Utterance
from finetune.recipes.synthesizer_coqui_config import Config
from finetune.recipes.synthesizer_coqui_voice import Voice
from finetune.sampling import Epochs, bucketed


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and what the network reads of its text."""

    row: Utterance
    tokens: tuple[int, ...]


class Batches:
    """Clips of a split by number: a permutation of each epoch, from (seed, epoch)."""

    def __init__(self, voice: Voice, rows: Sequence[Utterance], config: Config, split: str) -> None:
        """Leaves out what cannot be learnt from. Raises DataError where nothing stays."""
        self._voice, self._config = voice, config
        self._left_out: Counter[str] = Counter()
        made = (self._clip(row) for row in rows)
        self.clips = [clip for clip in made if clip is not None]
        if not self.clips:
            raise DataError(f"{', '.join(config.data)}: got no clip of split {split} to use{self._said()}")
        self._epochs = Epochs(self._plan)

    def summary(self) -> str:
        """What there is to learn from, in a line."""
        minutes = sum(clip.row.duration_s for clip in self.clips) / 60
        voices = f"{len(self._voice.names)} voices" if len(self._voice.names) > 1 else "1 voice"
        return f"{len(self.clips)} clips, {minutes:.1f} minutes, {voices}{self._said()}"

    def batch(self, number: int) -> dict[str, Tensor]:
        """The batch of a number; see `tensors`."""
        return self.tensors(self._epochs.find(number)[1])

    def all(self) -> list[list[Clip]]:
        """Every clip once, those of about one length together."""
        clips = sorted(self.clips, key=lambda clip: clip.row.duration_s)
        return [clips[i : i + self._config.rows] for i in range(0, len(clips), self._config.rows)]

    def tensors(self, clips: Sequence[Clip]) -> dict[str, Tensor]:
        """tokens [B, T], waveform [B, 1, S], their lengths, numbers of speakers and languages [B] where there are any.

        Names are those of Coqui's `Vits.format_batch_on_device`, which makes spectrograms of it.
        """
        waves = [self._waveform(clip.row) for clip in clips]
        longest, most = max(map(len, waves)), max(len(clip.tokens) for clip in clips)
        made = {
            "tokens": torch.zeros((len(clips), most), dtype=torch.long),
            "token_lens": torch.tensor([len(clip.tokens) for clip in clips]),
            "waveform": torch.zeros((len(clips), 1, longest)),
            "waveform_rel_lens": torch.tensor([len(wave) / longest for wave in waves]),
        }
        for i, (clip, wave) in enumerate(zip(clips, waves, strict=True)):
            made["tokens"][i, : len(clip.tokens)] = torch.tensor(clip.tokens)
            made["waveform"][i, 0, : len(wave)] = torch.from_numpy(wave)
        if speakers := self._voice.speakers:
            made["speaker_ids"] = torch.tensor([speakers[clip.row.speaker] for clip in clips])
        if languages := self._voice.languages:
            made["language_ids"] = torch.tensor([languages[clip.row.language] for clip in clips])
        return made

    def _clip(self, row: Utterance) -> Clip | None:
        voice, audio = self._voice, self._voice.model.config.audio
        tokens = tuple(voice.tokens(row.text, row.language))
        rate = voice.model.args.encoder_sample_rate or audio.sample_rate
        why = ""
        if row.speaker not in voice.names:
            why = "of other speakers"
        elif row.duration_s > self._config.longest_s:
            why = f"longer than {self._config.longest_s:g} s"
        elif not any(character.isalnum() for character in row.text):
            why = "without a letter"
        elif len(tokens) > int(row.duration_s * rate / audio.hop_length):  # each token needs a frame of its own
            why = "too short for their texts"
        self._left_out[why] += 1
        return None if why else Clip(row, tokens)

    def _said(self) -> str:
        left = [f"{count} {why}" for why, count in sorted(self._left_out.items()) if why]
        return f"; left out: {', '.join(left)}" if left else ""

    def _waveform(self, row: Utterance) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        heard = recording.decode(Path(row.audio).read_bytes(), row.start_s, row.end_s)
        rate = self._voice.model.config.audio.sample_rate
        wave: np.ndarray[tuple[int], np.dtype[np.float32]] = heard.waveform
        if heard.rate != rate:
            wave = soxr.resample(heard.waveform, heard.rate, rate).astype(np.float32)
        return np.clip(wave, -1.0, 1.0)

    def _plan(self, epoch: int) -> list[list[Clip]]:
        rng = random.Random(f"{self._config.training.seed} {epoch}")
        lengths = [round(1000 * clip.row.duration_s) for clip in self.clips]
        return [[self.clips[i] for i in batch] for batch in bucketed(lengths, self._config.rows, rng)]
