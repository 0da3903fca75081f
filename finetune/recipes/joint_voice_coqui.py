"""A VITS of Coqui TTS as one differentiable piece: text to waveform, as the service says it. Knows no recognizer.

Rhythm and breath are drawn anew each time, as they are served; rhythm carries no gradient, the rest does.
Legend: T tokens of a text, E width of the text encoder, N samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from finetune.joint.byte_spans import Span, moved, spans
from finetune.recipes.synthesizer_coqui_voice import Voice

STAYS = ("posterior_encoder", "emb_g")
"""Parts of Coqui's `Vits` that are not trained further: the encoder of recordings, which no text goes through, and the
table of speakers, or the voice would become somebody else to be understood."""


class CoquiVoice(nn.Module):
    """Satisfies `chain_edge.Voice`."""

    def __init__(self, voice: Voice, language: str) -> None:
        """In the default voice; `language` counts where the network was trained on several."""
        super().__init__()
        self.vits, self.discriminator = voice.model, voice.discriminator
        self.discriminator.requires_grad_(False)
        for name in STAYS:
            part = getattr(self.vits, name, None)
            if part is not None:  # a voice of one speaker has no table
                part.requires_grad_(False)
        self._voice, self._language = [voice], language  # in a list, or its weights would count twice

    @property
    def rate(self) -> int:
        """Hz of its waveforms."""
        return int(self.vits.config.audio.sample_rate)

    @property
    def width(self) -> int:
        """Of the text encoder."""
        return int(self.vits.text_encoder.emb.embedding_dim)

    def symbols(self, text: str) -> list[Span]:
        """Each token's letter, by its bytes; a blank between letters stands for nothing.

        Letters of a cleaner or a phonemizer are found again where they are the same, else what they replaced.
        """
        tokens = self._tokens(text)
        places = self._letters(len(tokens))
        letters = [self.vits.tokenizer.characters.id_to_char(tokens[place]) for place in places]
        found: list[Span] = [(0, 0)] * len(tokens)
        own = spans([letter.encode() for letter in letters])
        for place, span in zip(places, moved(own, "".join(letters), text, 0), strict=True):
            found[place] = span
        return found

    def speak(self, texts: Sequence[str], added: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Waveforms [N] at `rate`; nothing of a text without a letter. One text after the other, as on a CPU's service.

        In evaluation mode, as it is served: dropout belongs to the voice's own loss.
        """
        training = self.vits.training
        self.vits.eval()
        try:
            return [self._spoken(text, None if added is None else added[row]) for row, text in enumerate(texts)]
        finally:
            self.vits.train(training)

    def _spoken(self, text: str, added: Tensor | None) -> Tensor:
        vits, (voice,) = self.vits, self._voice
        device = vits.text_encoder.emb.weight.device
        tokens = self._tokens(text)
        if not tokens:
            return torch.zeros(0, device=device)
        aux: dict[str, Any] = {"x_lengths": torch.tensor([len(tokens)], device=device)}
        if voice.speakers:
            aux["speaker_ids"] = torch.tensor([voice.speakers[voice.names[0]]], device=device)
        if voice.languages:
            aux["language_ids"] = torch.tensor([voice.languages[self._language]], device=device)
        with _hooked(vits, added):
            # Coqui's own inference, without the decorator that takes the gradients away.
            made = type(vits).inference.__wrapped__(vits, torch.tensor([tokens], device=device), aux)
        waveform: Tensor = made["model_outputs"][0, 0].float()
        return waveform

    def _tokens(self, text: str) -> list[int]:
        """What the network reads; nothing where the service would say nothing."""
        return self._voice[0].tokens(text, self._language) if any(letter.isalnum() for letter in text) else []

    def _letters(self, count: int) -> Sequence[int]:
        """Places of letters among so many tokens: the tokenizer puts blanks around each, then marks at both ends."""
        places = range(count)
        if self.vits.tokenizer.use_eos_bos:
            places = places[1:-1]
        return places[1::2] if self.vits.tokenizer.add_blank else places


@contextlib.contextmanager
def _hooked(vits: Any, added: Tensor | None) -> Iterator[None]:
    """`added` [T, E] comes to the text encoder's input; no gradient goes into rhythm, which is rounded to frames."""
    scale = vits.text_encoder.hidden_channels**0.5  # by which the encoder multiplies its embeddings
    hooks = [vits.duration_predictor.register_forward_hook(lambda _module, _inputs, made: made.detach())]
    if added is not None:
        hooks.append(vits.text_encoder.emb.register_forward_hook(lambda _module, _inputs, made: made + added / scale))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
