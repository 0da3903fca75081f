"""What a recognizer under training hears on dev: windows and texts as the service makes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.workers.whisper_windows import Asked, Window, Windows
from finetune.data.rows import Utterance
from finetune.evaluate.normal import characters, has_words, normal
from finetune.measure import wer
from finetune.recipes.recognizer_batches import labelled
from finetune.recipes.recognizer_clips import pcm_of
from finetune.recipes.recognizer_model import Network
from finetune.recipes.recognizer_rows import IGNORED, Encoder


class Dev:
    """Clips with their windows, made once."""

    def __init__(self, name: str, clips: Sequence[Utterance], windows: Windows, encoder: Encoder, rows: int) -> None:
        """`name` stands before the measures: dev, old_dev. `rows` windows are heard at once."""
        self._clips, self._encoder, self._rows = clips, encoder, rows
        self._windows = [windows.of(pcm_of(clip), Asked()) for clip in clips]
        self._by_words = all(has_words(clip.language) for clip in clips)
        self._rate = f"{name}_{'wer' if self._by_words else 'cer'}"
        self._loss = f"{name}_loss"

    def measure(self, network: Network) -> dict[str, float]:
        """Word error rate (character error rate of languages without spaces) in 0..1, and loss a token in nats."""
        pairs = []
        for clip, heard in zip(self._clips, self.texts(network), strict=True):
            language = clip.language
            pair = [normal(text, language) for text in (self._encoder.written(clip.text), heard)]
            pairs.append((pair[0], pair[1]) if self._by_words else (characters(pair[0]), characters(pair[1])))
        return {self._rate: wer(pairs), self._loss: self._mean_loss(network)}

    def texts(self, network: Network) -> list[str]:
        """What is heard in each clip; windows of one kind share a batch, as in the service."""
        texts: dict[tuple[int, int], str] = {}
        kinds: defaultdict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
        for number, windows in enumerate(self._windows):
            prompt = self._encoder.prompt(self._clips[number].language)
            for place, window in enumerate(windows):
                if window.frames:
                    kinds[window.frames, window.longest, len(prompt)].append((number, place))
        for (_, longest, _), places in kinds.items():
            for first in range(0, len(places), self._rows):
                some = places[first : first + self._rows]
                mels = _mels([self._windows[number][place] for number, place in some], network)
                prompts = [self._encoder.prompt(self._clips[number].language) for number, _ in some]
                written = network.transcribe(mels, prompts, longest)
                texts |= {place: self._encoder.text_of(tokens) for place, tokens in zip(some, written, strict=True)}
        return [
            " ".join(text for place in range(len(windows)) if (text := texts.get((number, place), "")))
            for number, windows in enumerate(self._windows)
        ]

    def _mean_loss(self, network: Network) -> float:
        """Of clips that are one window; of the others it is not known which words are in which."""
        kinds: defaultdict[int, list[int]] = defaultdict(list)
        for number, windows in enumerate(self._windows):
            if len(windows) == 1 and windows[0].frames:
                kinds[windows[0].frames].append(number)
        summed = counted = 0.0
        for numbers in kinds.values():
            for first in range(0, len(numbers), self._rows):
                some = numbers[first : first + self._rows]
                targets = [self._encoder.target(self._clips[number]) for number in some]
                batch = {
                    name: value.to(_device(network)) for name, value in labelled(targets, self._encoder.end).items()
                }
                one, count = loss(network, {"mels": _mels([self._windows[i][0] for i in some], network), **batch})
                summed, counted = summed + float(one), counted + count
        return summed / max(1.0, counted)


def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, float]:
    """Summed cross-entropy of what is written after the prompt's first token, and how many tokens that is."""
    logits = model(batch["mels"], batch["given"])  # [B, L, V]
    learnt = batch["expected"] != IGNORED
    summed = functional.cross_entropy(logits[learnt].float(), batch["expected"][learnt], reduction="sum")
    return summed, float(learnt.sum())


def spread(clips: Sequence[Utterance], count: int) -> list[Utterance]:
    """Up to `count` of them, from all over."""
    return [clips[round(i * len(clips) / count)] for i in range(count)] if len(clips) > count else list(clips)


def _mels(windows: Sequence[Window], network: Network) -> Tensor:
    return torch.from_numpy(np.stack([window.features for window in windows])).to(_device(network))


def _device(network: Network) -> torch.device:
    return next(network.parameters()).device
