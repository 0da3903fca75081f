"""Plants attention heads that copy into an untrained Llama, so that they need not be discovered. Knows no data.

Induction heads (Elhage et al., "A mathematical framework for transformer circuits", 2021; Olsson et al., 2022) take a
small model most of a CPU's training time to find. Layer 0 gets heads that look one and two tokens back and note what
stands there; layer 1 gets heads that look for places whose note is the present token, and bring the token found there
to the output. All stays trainable.

Shapes: D model width, H head width. Rotary pair p of a head: dimensions p and p + H / 2, frequency theta ** (-2p / H).
"""

from __future__ import annotations

from typing import Any, Final

import torch

CONSTANT: Final = 4.0
"""Value of dimension 0 in every embedding, over the spread of the others: what a head that looks at positions reads."""
SHARPNESS: Final = (60.0, 40.0, 20.0, 8.0)
"""Score of the right distance in the fastest rotary pairs, before the division by sqrt(H)."""
SLOW_PAIRS: Final = 6
"""From this pair on, rotation over a few hundred tokens is small enough for comparing contents."""
MATCH: Final = 1.5
"""Gain of queries and keys that compare tokens."""
COPY: Final = 1.5
"""Gain of the token that is copied, beside the present token's own embedding."""


@torch.no_grad()
def plant_copying(model: Any, seed: int = 0) -> None:
    """Overwrites four heads (two key-value groups) of layers 0 and 1, and dimension 0 of the embeddings."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    width, head = config.hidden_size, config.hidden_size // config.num_attention_heads
    shared = config.num_attention_heads // config.num_key_value_heads  # query heads of a key-value group
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(0, head, 2) / head)
    embeddings = model.model.embed_tokens.weight
    spread = embeddings.std()
    embeddings[:, 0] = CONSTANT * spread
    constant = CONSTANT / (1 + CONSTANT**2 / width) ** 0.5  # dimension 0 behind the norm

    for layer in model.model.layers:  # what is untrained writes nothing, so that it does not drown the copies
        layer.mlp.down_proj.weight.zero_()
        layer.self_attn.o_proj.weight.zero_()

    def projection() -> torch.Tensor:  # [H, D], rows orthogonal, blind to dimension 0
        basis = torch.linalg.qr(torch.randn(width - 1, head, generator=generator)).Q.T
        return torch.cat([torch.zeros(head, 1), basis], dim=1)

    first, second = (model.model.layers[index].self_attn for index in (0, 1))
    notes = projection()
    for group in range(2):  # looks back 1 token and, as far as heads share a group, 2, 3 ...
        contents = projection()
        keys, values = slice(group * head, (group + 1) * head), projection()
        amplitude = torch.zeros(head // 2)
        amplitude[: len(SHARPNESS)] = torch.tensor(SHARPNESS) ** 0.5
        first.k_proj.weight[keys] = 0
        first.k_proj.weight[keys, 0] = torch.cat([amplitude, torch.zeros(head // 2)]) / constant
        first.v_proj.weight[keys] = contents
        for member in range(shared):
            queries = slice((group * shared + member) * head, (group * shared + member + 1) * head)
            angle = -(group * 0 + member + 1) * frequencies
            rotated = torch.cat([amplitude * angle.cos(), amplitude * angle.sin()])
            first.q_proj.weight[queries] = 0
            first.q_proj.weight[queries, 0] = rotated / constant
            first.o_proj.weight[:, queries] = (notes if member == 0 else projection()).T * spread * 2
        slow = torch.arange(head) % (head // 2) >= SLOW_PAIRS
        second.k_proj.weight[keys] = notes * slow[:, None] * MATCH
        second.v_proj.weight[keys] = values
        for member in range(shared):
            queries = slice((group * shared + member) * head, (group * shared + member + 1) * head)
            second.q_proj.weight[queries] = contents * slow[:, None] * MATCH
            second.o_proj.weight[:, queries] = values.T * spread * COPY
        notes = projection()
