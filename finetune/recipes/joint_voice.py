"""The starter's kind of voice as one differentiable piece: text to waveform, as `synthesizer_starter_export.said`.

Durations, pitch and the noise are taken as they are served and carry no gradient; spectra do. Knows no recognizer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from app.front_end import FrontEnd
from app.workers.frames import frame_positions
from app.workers.phrases import UNFINISHED, phrases
from app.workers.vocoder import RATE, Excitation
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
        return [self._spoken(text, None if added is None else added[row]) for row, text in enumerate(texts)]

    def _spoken(self, text: str, added: Tensor | None) -> Tensor:
        device = self.acoustic.phone.weight.device
        speaker = torch.tensor([self._speaker], device=device)
        made: list[tuple[Tensor, ...]] = []  # of each phrase: pitch [1, T], cepstra [1, T, K]
        at = 0
        for phrase in phrases(text, self._front):
            phones, places = (torch.from_numpy(part)[None].to(device) for part in (phrase.phones, phrase.places))
            own = None if added is None else added[None, at : at + len(phrase.phones)]
            at += len(phrase.phones)
            states, steps = self.acoustic.encode(phones, places, speaker, own)
            lengths = whole_frames(steps[0].detach().float().exp().cpu().numpy(), phrase)
            owner, position = (torch.from_numpy(part)[None].to(device) for part in frame_positions(lengths))
            made.append(self._decoder[0](states, owner, position))
        if not made:
            return torch.zeros(0, device=device)
        hertz, harmonic, breath = (torch.cat(parts, 1).float() for parts in zip(*made, strict=True))
        pitch = hertz[0].detach().cpu().numpy()
        # The filters reach one segment further than the pitch is known.
        pulses, noise = Excitation(seed_of(text)).next(np.append(pitch, np.float32(0)))
        struck, blown = (torch.from_numpy(part)[None].to(device) for part in (pulses, noise))
        return limited(filtered(struck, blown, harmonic, breath)[0] * GAIN)


def limited(samples: Tensor) -> Tensor:
    """app.workers.voice.limited, differentiable."""
    over = samples.abs() - LOUD
    bent = samples.sign() * (LOUD + (1 - LOUD) * torch.tanh(over.clamp(min=0) / (1 - LOUD)))
    return torch.where(over > 0, bent, samples)
