"""`gradient_checkpointing` of recognizer and language model in a step with edges: computed twice, learnt alike."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from finetune.checkpoint import seed_everything
from finetune.joint.edges import Edge
from finetune.recipes import joint
from finetune.recipes.joint_config import Edges
from finetune.recipes.joint_losses import EDGES, Step
from finetune.recipes.joint_parts import models_of
from finetune.recipes.joint_together import together
from tests.finetune.joint.place import Place

ON = ("recognizer.gradient_checkpointing=true", "language.gradient_checkpointing=true")


def one_step(place: Place, *overrides: str) -> tuple[dict[str, float], dict[str, Tensor], Counter[str]]:
    """Losses, gradients, and how often a layer of each kind was computed for the backward pass alone."""
    edges = Edges(transcript=Edge(weight=1.0), reply_to_voice=Edge(weight=1.0), chain=Edge(weight=1.0))
    parts = together(joint.below(place.config("checkpointing", *overrides)))
    parts = dataclasses.replace(parts, config=dataclasses.replace(parts.config, edges=edges))
    models = models_of(parts).train()
    torch.nn.init.constant_(parts.gate.out.weight, 0.01)
    whisper: Any = parts.recognizer.network.whisper.model
    calls: Counter[str] = Counter()
    for name, layer in (
        ("encoder", whisper.encoder.layers[0].fc1),
        ("decoder", whisper.decoder.layers[0].fc1),
        ("language", parts.language.model.base_model.model.model.layers[0].self_attn),
    ):
        layer.register_forward_hook(lambda *_, name=name: calls.update([name]))
    step = Step(parts, separate=("recognizer", "language"), edges=EDGES)
    seed_everything(1)
    losses = step.losses(0, step.batch(0))
    calls.clear()
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = {name: one.grad for name, one in models.named_parameters() if one.grad is not None}
    return {name: loss.item() for name, loss in losses.items()}, gradients, calls


def test_layers_are_computed_twice_and_learn_alike(place: Place) -> None:
    place.begun("checkpointing")
    losses, gradients, calls = one_step(place)
    again, others, more = one_step(place, *ON)
    assert not calls
    assert set(more) == {"encoder", "decoder", "language"}
    assert again == pytest.approx(losses, rel=1e-6)
    assert others.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-6)
