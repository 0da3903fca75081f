"""What a recognizer in training writes, and how likely it finds it. Knows no language model and no voice.

Shapes: B rows, M mel bands, T mel frames, S encoder states, N tokens of the longest hypothesis, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from app.workers.whisper_windows import Window
from finetune.recipes.recognizer_model import Network


def together(windows: Sequence[Window], rows: int) -> Iterator[list[int]]:
    """Numbers of the windows that are heard at once: of one kind, `rows` at most, as in the service; not of silence."""
    kinds: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    for number, window in enumerate(windows):
        if window.frames:
            kinds[window.kind].append(number)
    for numbers in kinds.values():
        yield from (numbers[first : first + rows] for first in range(0, len(numbers), rows))


def likeliest(
    network: Network, windows: Sequence[Window], prompts: Sequence[Sequence[int]], rows: int, end: int
) -> list[list[int]]:
    """Text tokens of each window, as the service decodes with one beam; without gradient or dropout.

    Windows of one kind are heard together, `rows` at once, as in the service; where nobody speaks nothing is written.
    `prompts` are of one length; tokens from `end` on, <|endoftext|>, are special and left out, as the service does.
    """
    written: list[list[int]] = [[] for _ in windows]
    training, device = network.training, next(network.parameters()).device
    network.eval()
    for some in together(windows, rows):
        mels = torch.from_numpy(np.stack([windows[i].features for i in some])).to(device)
        found = network.transcribe(mels, [prompts[i] for i in some], windows[some[0]].longest)
        for number, tokens in zip(some, found, strict=True):
            written[number] = [token for token in tokens if token < end]
    network.train(training)
    return written


@torch.no_grad()
def drawn(
    network: Network,
    mels: Tensor,
    prompts: Sequence[Sequence[int]],
    longest: int,
    end: int,
    generator: torch.Generator,
) -> list[list[int]]:
    """Text tokens of each row, each token drawn by its probability; only text tokens and the end can be."""
    training = network.training
    network.eval()
    states = network.encode(mels)
    given = torch.tensor([list(prompt) for prompt in prompts], device=mels.device)
    ended = torch.zeros(len(prompts), dtype=torch.bool)
    written: list[list[int]] = [[] for _ in prompts]
    past = None
    for _ in range(longest):
        output = network.whisper.model.decoder(
            input_ids=given, encoder_hidden_states=states, past_key_values=past, use_cache=True
        )
        past = output.past_key_values
        scores = network.whisper.proj_out(output.last_hidden_state[:, -1]).float()[:, : end + 1].cpu()
        chosen = torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0]
        ended |= chosen == end
        for row in (~ended).nonzero()[:, 0].tolist():
            written[row].append(int(chosen[row]))
        if ended.all():
            break
        given = chosen[:, None].to(mels.device)
    network.train(training)
    return written


def scores(
    network: Network, mels: Tensor, prompts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]], end: int
) -> Tensor:
    """Logits [B, N + 1, V] of each text's tokens and of its end, one pass, the text being given.

    Row b has len(texts[b]) + 1 places that count; what is behind them is padding.
    """
    longest = max((len(text) for text in texts), default=0)
    given = [[*prompt, *text, *[end] * (longest - len(text))] for prompt, text in zip(prompts, texts, strict=True)]
    logits: Tensor = network(mels, torch.tensor(given, device=mels.device))
    return logits[:, len(prompts[0]) - 1 :]


def log_probabilities(logits: Tensor, texts: Sequence[Sequence[int]], end: int) -> Tensor:
    """Natural logarithm [B] of each text's probability, its end included, under `scores` [B, N + 1, V]."""
    logs = logits.float().log_softmax(-1)
    wanted = [torch.tensor([*text, end], device=logits.device) for text in texts]
    return torch.stack(
        [logs[row, torch.arange(len(ids), device=ids.device), ids].sum() for row, ids in enumerate(wanted)]
    )
