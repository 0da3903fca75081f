"""The starter's kind of voice as one differentiable piece: text to waveform, as `synthesizer_starter_export.said`.

Durations, pitch and the noise are taken as they are served and carry no gradient; spectra do. Knows no recognizer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from app.front_end import FrontEnd
from app.workers.frames import frame_positions
from app.workers.phrases import UNFINISHED, Phrase, phrases
from app.workers.vocoder import HOP, RATE, Excitation
from app.workers.voice import LOUD, seed_of, whole_frames
from finetune.joint.byte_spans import Span
from finetune.starter.voice_acoustic import Acoustic
from finetune.starter.voice_export import GAIN, Decoder, Sharpening
from finetune.starter.voice_vocoder import FilterNetwork, Scale, filtered


class StarterVoice(nn.Module):
    """Satisfies `chain_edge.Voice`."""

    rate = RATE

    def __init__(
        self,
        acoustic: Acoustic,
        vocoder: FilterNetwork,
        scale: Scale,
        sharpening: Sharpening,
        front: FrontEnd,
        speaker: int = 0,
    ) -> None:
        super().__init__()
        self.acoustic, self.vocoder = acoustic, vocoder
        self._decoder = [Decoder(acoustic, vocoder, scale, sharpening)]  # in a list, or its weights would count twice
        self._front, self._speaker = front, speaker

    @property
    def width(self) -> int:
        """Of the text encoder."""
        return self.acoustic.phone.embedding_dim

    def symbols(self, text: str) -> list[Span]:
        """Each symbol's word, by its bytes; a pause goes with the word after it, the last one with nothing."""
        found: list[Span] = []
        begin = 0
        for phrase in phrases(text, self._front):
            waiting = 0  # symbols of a word that is not finished
            for symbol, until in enumerate(phrase.finished):
                waiting += 1
                if until != UNFINISHED:
                    end = len(text[:until].encode())
                    found += [(begin, end)] * waiting
                    begin, waiting = end, 0
                elif symbol == len(phrase.finished) - 1:
                    found += [(begin, begin)] * waiting
        return found

    def speak(self, texts: Sequence[str], added: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Waveforms [N] at `rate`, as loud as they are served; nothing of a text that has no words."""
        split = [list(phrases(text, self._front)) for text in texts]
        flat = [phrase for own in split for phrase in own]
        device = self.acoustic.phone.weight.device
        if not flat:
            return [torch.zeros(0, device=device) for _ in texts]
        # 1. All phrases at once: phones to states and frames
        phones, places = (
            pad_sequence([torch.from_numpy(part) for part in parts], True).to(device)
            for parts in ([one.phones for one in flat], [one.places for one in flat])
        )
        own = None if added is None else pad_sequence(_cut(added, split), True)
        states, steps = self.acoustic.encode(phones, places, self._speakers(len(flat), device), own)
        predicted = steps.detach().float().exp().cpu().numpy()
        lengths = [whole_frames(row[: len(one.phones)], one) for row, one in zip(predicted, flat, strict=True)]
        # 2. Frames to pitch and filters
        placed = [frame_positions(one) for one in lengths]
        owner, position = (pad_sequence([torch.from_numpy(one[i]) for one in placed], True).to(device) for i in (0, 1))
        counts = [len(one) for one, _ in placed]
        mask = pad_sequence([torch.ones(count) for count in counts], True).to(device)
        made = self._decoder[0](states, owner, position, mask)
        # 3. The phrases of a text behind each other, through its excitation
        hertz, harmonic, breath = (_joined([one.float() for one in part], counts, split) for part in made)
        sources = [
            # The filters reach one segment further than the pitch is known.
            Excitation(seed_of(text)).next(np.append(pitch.detach().cpu().numpy(), np.float32(0)))
            for text, pitch in zip(texts, hertz, strict=True)
        ]
        struck, blown = (
            pad_sequence([torch.from_numpy(source[i]) for source in sources], True).to(device) for i in (0, 1)
        )
        said = limited(filtered(struck, blown, pad_sequence(harmonic, True), pad_sequence(breath, True)) * GAIN)
        return [row[: len(own) * HOP] for row, own in zip(said, hertz, strict=True)]

    def _speakers(self, count: int, device: torch.device) -> Tensor:
        return torch.full((count,), self._speaker, device=device)


def _cut(added: Sequence[Tensor], split: Sequence[Sequence[Phrase]]) -> list[Tensor]:
    """What is added to each phrase of what is added to each text."""
    return [
        part
        for own, of_text in zip(split, added, strict=True)
        for part in torch.split(of_text, [len(phrase.phones) for phrase in own])
    ]


def _joined(rows: Sequence[Tensor], counts: Sequence[int], split: Sequence[Sequence[Phrase]]) -> list[Tensor]:
    """Of each text the rows [T, ...] of its phrases, each without what is behind its `counts` frames, in one."""
    parts = iter([row[:count] for row, count in zip(rows, counts, strict=True)])
    return [torch.cat([next(parts) for _ in own] or [rows[0][:0]]) for own in split]


def limited(samples: Tensor) -> Tensor:
    """app.workers.voice.limited, differentiable."""
    over = samples.abs() - LOUD
    bent = samples.sign() * (LOUD + (1 - LOUD) * torch.tanh(over.clamp(min=0) / (1 - LOUD)))
    return torch.where(over > 0, bent, samples)
