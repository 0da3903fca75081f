"""Weights between the base's and the trained ones, which keep more of the old language. Knows no data and no export.

A model that was trained on from another one mostly lies in the same valley of the loss, so that weights between the two
hear much of what either hears (WiSE-FT: Wortsman and others, arXiv 2109.01903). No training is needed, only looks at
dev.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from finetune.recipes.recognizer_config import Average
from finetune.recipes.recognizer_model import Network

Measure = Callable[[], Mapping[str, float]]


def weights_of(network: Network) -> dict[str, Tensor]:
    """A copy of transformers' weights, in the memory of the CPU."""
    return {name: value.detach().cpu().clone() for name, value in network.whisper.state_dict().items()}


def average(network: Network, base: Mapping[str, Tensor], config: Average, measure: Measure) -> dict[str, Any]:
    """Leaves the best of the tried weights in the network, and returns what was measured of each.

    `base`: weights before training. `measure`: error rates on dev of what is in the network, the new language's first.
    The best share of the base has the lowest new rate among those whose old rate is at most `may_rise` above that of
    the base; where there is none, the lowest old rate.
    """
    network.eval()
    network.merged()
    trained = weights_of(network)
    tried = {share: _measured(network, base, trained, share, measure) for share in sorted({0.0, 1.0, *config.shares})}
    new = next(iter(tried[0.0]))
    old = next(name for name in tried[0.0] if name.startswith("old_") and not name.endswith("loss"))
    most = tried[1.0][old] + config.may_rise
    candidates = [share for share in tried if share < 1]
    kept = [share for share in candidates if tried[share][old] <= most]
    chosen = min(kept, key=lambda share: tried[share][new]) if kept else min(candidates, key=lambda s: tried[s][old])
    _put(network, base, trained, chosen)
    print(
        f"{chosen:g} of the base's weights: {', '.join(f'{name} {value:.4f}' for name, value in tried[chosen].items())}"
    )
    return {"share": chosen, "tried": {f"{share:g}": dict(found) for share, found in tried.items()}}


@torch.no_grad()
def _measured(
    network: Network, base: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float, measure: Measure
) -> Mapping[str, float]:
    _put(network, base, trained, share)
    return measure()


def _put(network: Network, base: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float) -> None:
    between = {name: torch.lerp(trained[name], base[name], share) for name in trained}
    network.whisper.load_state_dict(between)
