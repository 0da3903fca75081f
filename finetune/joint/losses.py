"""Losses that only joint training has. Knows no data and no schedule.

Shapes: N tokens of a reply, V vocabulary, K hypotheses of one utterance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from finetune.errors import TrainingError

TEMPERATURE = 2.0
"""Of both distributions, as in Ultravox' knowledge distillation (ultravox_model.py, _compute_kl_loss)."""


def agreement(of_text: Tensor, of_transcript: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Summed KL(text || transcript) over the tokens of one reply [N, V] read after the right text and after what was
    heard, in nats. No gradient reaches `of_text`: the transcript's distribution is to become the text's, not the other
    way round. Raises TrainingError for replies of different lengths.
    """
    if of_text.shape != of_transcript.shape:
        raise TrainingError(
            f"a reply has {tuple(of_text.shape)} logits after the text and {tuple(of_transcript.shape)} after the "
            f"transcript, expected the same"
        )
    wanted = (of_text.detach().float() / temperature).log_softmax(-1)
    found = (of_transcript.float() / temperature).log_softmax(-1)
    return functional.kl_div(found, wanted, reduction="sum", log_target=True)


def expected_loss(log_probabilities: Tensor, losses: Sequence[float]) -> Tensor:
    """The expected loss over the K hypotheses of one utterance, of which the recognizer finds each `log_probabilities`
    [K] likely (Prabhavalkar et al. 2018, there for word errors); `losses` are those of the reply after each, numbers.

    Probabilities are renormalised over the K. What all have in common is taken off the losses: it changes no gradient.
    """
    shares = log_probabilities.softmax(0)
    rewards = torch.tensor(losses, device=shares.device, dtype=shares.dtype)
    return (shares * (rewards - rewards.mean())).sum()


def distinct(hypotheses: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Hypotheses without repeats, in their order: a repeat would count its probability twice."""
    return list(dict.fromkeys(tuple(one) for one in hypotheses))
