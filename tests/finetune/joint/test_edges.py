"""Edges as data: schedules, and crossings that change nothing but gradients."""

from __future__ import annotations

import pytest
import torch

from finetune import config
from finetune.errors import ConfigError
from finetune.joint.edges import Crossing, Edge, scale_gradient


@pytest.mark.parametrize(
    ("edge", "scales"),
    [
        (Edge(), [0, 0, 0, 0, 0, 0]),
        (Edge(weight=0.5), [1, 1, 1, 1, 1, 1]),
        (Edge(weight=1, gradient_scale=0.3, from_step=2), [0, 0, 0.3, 0.3, 0.3, 0.3]),
        (Edge(weight=1, from_step=1, ramp_steps=3), [0, 0.25, 0.5, 0.75, 1, 1]),
        (Edge(weight=1, detach=True), [0, 0, 0, 0, 0, 0]),
    ],
)
def test_what_crosses_by_step(edge: Edge, scales: list[float]) -> None:
    assert [edge.scale(step) for step in range(6)] == pytest.approx(scales)


def test_an_edge_counts_from_its_first_step_on_also_detached() -> None:
    assert [Edge(weight=1, from_step=2, detach=True).on(step) for step in range(4)] == [False, False, True, True]
    assert not Edge(from_step=0).on(9)


def test_an_edge_in_a_configuration_is_strict() -> None:
    assert config.fill(Edge, {"weight": 1, "ramp_steps": 5}, "file") == Edge(weight=1.0, ramp_steps=5)
    with pytest.raises(ConfigError, match="weight: got -1"):
        config.fill(Edge, {"weight": -1}, "file")


def test_a_crossing_is_the_tensor_itself_with_less_gradient_and_tells_its_norm() -> None:
    x = torch.tensor([3.0, -0.0, 4.0, float("1e-30")], requires_grad=True)
    crossing = Crossing()
    crossed = crossing(x, 0.1)
    assert torch.equal(crossed, x)
    (crossed * torch.tensor([3.0, 0.0, 4.0, 0.0])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([0.3, 0, 0.4, 0])
    crossing(x, 0.1)[0].backward()  # several batches of a step add up
    assert crossing.norm() == pytest.approx((0.5**2 + 0.1**2) ** 0.5)
    assert crossing.norm() == 0.0


def test_nothing_crosses_where_the_scale_is_zero() -> None:
    x = torch.ones(2, requires_grad=True)
    crossing = Crossing()
    assert not crossing(x, 0.0).requires_grad
    assert crossing.norm() == 0.0
    (scale_gradient(x, 2.0) + crossing(x, 0.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2]
