"""The acoustic model: phones to durations, pitch and mel frames, and its losses. Knows no text and no waveform.

FastSpeech-like (Ren et al. 2019), convolutional throughout, so that speech can be made in pieces that join exactly.
Legend: B batch, P phones, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from app.pronounce import PAUSE, PHONES, phone_places
from app.workers.frames import frame_positions
from finetune.starter.voice_aligner import Segments, Words
from finetune.starter.voice_corpus import Clip
from finetune.starter.voice_features import MELS, Floats
from finetune.starter.voice_loop import LossOf
from finetune.starter.voice_vocoder import Block, Scale

SHORTEST_PAUSE = 5  # frames: shorter silence between words belongs to the sounds beside it
LONGEST_EDGE = 8  # frames of silence kept before and after an utterance
CLOSED = frozenset(("p", "t", "k", "b", "d", "g", "ch", "jh"))
WEIGHTS = {"mel": 1.0, "duration": 0.5, "pitch": 0.3, "voicing": 0.3}


class Acoustic(nn.Module):
    """`encode` once a phrase, `decode` for any stretch of its frames."""

    def __init__(
        self,
        width: int = 192,
        encoder: int = 4,
        tone: int = 2,
        decoder: int = 5,
        *,
        symbols: int = len(PHONES),
        speakers: int = 1,
    ) -> None:
        """`symbols`: phones or letters, PAUSE among them."""
        super().__init__()
        self.phone = nn.Embedding(symbols + 1, width)  # 0 is padding
        self.speaker = nn.Embedding(speakers, width) if speakers > 1 else None
        self.place = nn.Embedding(4, width)
        self.encoder = nn.ModuleList(Block(width, 7) for _ in range(encoder))
        self.duration_block = Block(width, 7)
        self.duration = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        self.position = nn.Linear(4, width)
        self.tone_blocks = nn.ModuleList(Block(width, 9, 2) for _ in range(tone))
        self.tone = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2))
        self.tone_in = nn.Linear(2, width)
        self.decoder = nn.ModuleList(Block(width, 9, 2) for _ in range(decoder))
        self.mel = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, MELS))

    def forward(
        self,
        phones: Tensor,
        places: Tensor,
        speaker: Tensor,
        owner: Tensor,
        position: Tensor,
        mask: Tensor,
        tone: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`encode` and `decode` as in training -> logarithm of frames, mel, tone."""
        states, steps = self.encode(phones, places, speaker)
        return steps, *self.decode(states, owner, position, mask, tone)

    def encode(
        self, phones: Tensor, places: Tensor, speaker: Tensor, added: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Phone numbers and places [B, P], speakers [B] -> states [B, P, D], logarithm of frames [B, P].

        `added` [B, P, D], in joint training, is added to what the blocks read.
        """
        mask = (phones > 0).float().unsqueeze(-1)
        x = self.phone(phones) + self.place(places)
        if self.speaker is not None:
            x = x + self.speaker(speaker).unsqueeze(1)
        if added is not None:
            x = x + added
        for block in self.encoder:
            x = block(x, mask)
        # Durations are learnt mostly by their own block: their gradient is noisy and would roughen the states.
        steps = self.duration(self.duration_block(x.detach() * 0.9 + x * 0.1, mask)).squeeze(-1)
        return x, steps

    def decode(
        self, states: Tensor, owner: Tensor, position: Tensor, mask: Tensor, tone: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """states [B, P, D], owner [B, T] phone of each frame, position [B, T, 4], mask [B, T] -> mel, tone.

        mel [B, T, MELS] normalised; tone [B, T, 2] normalised log pitch and voicing logit. `tone` given (training)
        replaces the predicted one as the decoder's input.
        """
        x = torch.gather(states, 1, owner.unsqueeze(-1).expand(-1, -1, states.shape[2])) + self.position(position)
        frames = mask.unsqueeze(-1)
        melody = x
        for block in self.tone_blocks:
            melody = block(melody, frames)
        predicted: Tensor = self.tone(melody)
        x = x + self.tone_in(tone if tone is not None else voiced_tone(predicted))
        for block in self.decoder:
            x = block(x, frames)
        return self.mel(x), predicted


def voiced_tone(predicted: Tensor) -> Tensor:
    """Predicted tone [B, T, 2] as the form that recordings have: pitch 0 where unvoiced, voicing 0 or 1."""
    voiced = (predicted[..., 1:] > 0).float()
    return torch.cat([predicted[..., :1] * voiced, voiced], dim=-1)


@dataclass(frozen=True, slots=True)
class Item:
    """One aligned utterance, ready for batches."""

    phones: NDArray[np.int64]  # [P]
    places: NDArray[np.int64]  # [P]
    frames: NDArray[np.int64]  # [P]
    mel: Floats  # [T, MELS] normalised
    tone: Floats  # [T, 2]
    speaker: int = 0


def item(
    clip: Clip, words: Words, segments: Segments, scale: Scale, symbols: Sequence[str] = PHONES, speaker: int = 0
) -> Item:
    """Tokens and frames of one clip: short pauses are given to their neighbours, long edges are cut off."""
    begin = max(0, segments[0][1] - LONGEST_EDGE) if segments[0][0] == PAUSE else 0
    end = len(clip.mel) - (max(0, segments[-1][1] - LONGEST_EDGE) if segments[-1][0] == PAUSE else 0)
    names = [phone for phone, _ in segments]
    lengths = [frames for _, frames in segments]
    lengths[0] -= begin
    lengths[-1] -= len(clip.mel) - end
    for index in range(1, len(names) - 1):
        if names[index] == PAUSE and lengths[index] < SHORTEST_PAUSE:
            # Before a stop the silence is its hold; elsewhere it is the fading of the sound before.
            lengths[index + 1 if names[index + 1] in CLOSED else index - 1] += lengths[index]
            lengths[index] = 0
    kept = [(phone, frames) for phone, frames in zip(names, lengths, strict=True) if frames]
    numbers = {symbol: number for number, symbol in enumerate(symbols, start=1)}
    places = iter([place for word in words for place in phone_places(len(word))])
    return Item(
        np.array([numbers[phone] for phone, _ in kept]),
        np.array([0 if phone == PAUSE else next(places) for phone, _ in kept]),
        np.array([frames for _, frames in kept]),
        scale.mel(clip.mel[begin:end]),
        scale.tone(clip.pitch[begin:end]),
        speaker,
    )


def acoustic_losses(network: Acoustic, items: list[Item], *, batch: int = 12) -> LossOf:
    """Batches of utterances of similar length, every utterance once an epoch."""
    per_epoch = len(items) // batch
    cache: dict[int, list[list[int]]] = {}

    def losses(step: int) -> dict[str, Tensor]:
        epoch, number = divmod(step, per_epoch)
        if epoch not in cache:
            cache.clear()
            cache[epoch] = _batches(items, batch, np.random.default_rng([23, epoch]))
        parts = batch_losses(network, collate([items[n] for n in cache[epoch][number]]))
        return {key: WEIGHTS[key] * value for key, value in parts.items()}

    return losses


def batch_losses(network: nn.Module, columns: Sequence[Tensor]) -> dict[str, Tensor]:
    """Unweighted losses of what `collate` made: mel and pitch L1 in deviations, log duration squared error, voicing
    cross-entropy."""
    phones, places, speaker, frames, owner, position, mel, tone, mask = columns
    steps, made, predicted = network(phones, places, speaker, owner, position, mask, tone)
    spoken, voiced = (phones > 0).float(), tone[..., 1]
    entropy = F.binary_cross_entropy_with_logits(predicted[..., 1], voiced, reduction="none")
    return {
        "mel": ((made - mel).abs().mean(dim=-1) * mask).sum() / mask.sum(),
        "duration": ((steps - torch.log(frames.clamp(min=1))) ** 2 * spoken).sum() / spoken.sum(),
        "pitch": ((predicted[..., 0] - tone[..., 0]).abs() * voiced).sum() / voiced.sum(),
        "voicing": (entropy * mask).sum() / mask.sum(),
    }


def collate(items: Sequence[Item]) -> list[Tensor]:
    """phones, places [B, P], speaker [B], frames [B, P]; owner [B, T], position [B, T, 4], mel, tone [B, T, ...],
    mask [B, T]."""
    count, longest = max(len(i.phones) for i in items), max(len(i.mel) for i in items)
    size = len(items)
    phones, places = np.zeros((size, count), np.int64), np.zeros((size, count), np.int64)
    frames, owner = np.zeros((size, count), np.float32), np.zeros((size, longest), np.int64)
    position, mask = np.zeros((size, longest, 4), np.float32), np.zeros((size, longest), np.float32)
    mel, tone = np.zeros((size, longest, MELS), np.float32), np.zeros((size, longest, 2), np.float32)
    for row, one in enumerate(items):
        phones[row, : len(one.phones)], places[row, : len(one.phones)] = one.phones, one.places
        frames[row, : len(one.phones)] = one.frames
        owner[row, : len(one.mel)], position[row, : len(one.mel)] = frame_positions(one.frames)
        mel[row, : len(one.mel)], tone[row, : len(one.mel)], mask[row, : len(one.mel)] = one.mel, one.tone, 1
    speaker = np.array([one.speaker for one in items], np.int64)
    return [torch.from_numpy(c) for c in (phones, places, speaker, frames, owner, position, mel, tone, mask)]


def _batches(items: list[Item], batch: int, draw: np.random.Generator) -> list[list[int]]:
    order = draw.permutation(len(items))
    pools = [order[start : start + 10 * batch] for start in range(0, len(order), 10 * batch)]
    found: list[list[int]] = []
    for pool in pools:
        ranked = sorted(pool.tolist(), key=lambda n: len(items[n].mel))
        found += [ranked[start : start + batch] for start in range(0, len(ranked) - batch + 1, batch)]
    return [found[n] for n in draw.permutation(len(found))]
