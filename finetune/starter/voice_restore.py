"""Networks of an exported voice, to train on from: weights of its ONNX files by the names they had in torch.

Knows no data and no training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from finetune.errors import ConfigError
from finetune.starter.voice_acoustic import Acoustic
from finetune.starter.voice_vocoder import FilterNetwork

FILES = ("encoder.onnx", "decoder.onnx")


def restored(folder: Path, symbols: Sequence[str], speakers: int) -> tuple[Acoustic, FilterNetwork]:
    """Both networks in the sizes of the voice in `folder`, for new symbols and speakers: a symbol that the voice has
    too begins as it is there, any other by chance. Raises ConfigError for a folder that is no voice of this kind."""
    try:
        facts = json.loads((folder / "voice.json").read_text(encoding="utf-8"))
        weights: dict[str, Tensor] = {}
        for name in FILES:
            weights |= weights_of(folder / name)
        old = {symbol: number for number, symbol in enumerate(facts["phones"], start=1)}
        width = len(weights["acoustic.place.weight"][0])
        acoustic = Acoustic(
            width,
            *(_count(weights, f"acoustic.{part}.") for part in ("encoder", "tone_blocks", "decoder")),
            symbols=len(symbols),
            speakers=speakers,
        )
        vocoder = FilterNetwork(len(weights["vocoder.norm.weight"]), _count(weights, "vocoder.blocks."))
        known = weights.pop("acoustic.phone.weight")
        weights.pop("acoustic.speaker.weight", None)  # those of other people
        with torch.no_grad():
            for number, symbol in enumerate(symbols, start=1):
                if symbol in old:
                    acoustic.phone.weight[number] = known[old[symbol]]
        _fill(acoustic, weights, "acoustic.")
        _fill(vocoder, weights, "vocoder.")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"base: {folder} is no voice of the starter's kind: {error}") from error
    return acoustic, vocoder


def weights_of(path: Path) -> dict[str, Tensor]:
    """Parameters of a file by their names. Those of linear layers are stored turned, and named by their biases."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    stored = {
        tensor.name.removesuffix(".half"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in graph.initializer
    }
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    named = {name: tensor for name, tensor in stored.items() if "::" not in name}
    for node in graph.node:
        for bias, product in (tuple(node.input), tuple(reversed(node.input))) if node.op_type == "Add" else ():
            if bias.endswith(".bias") and products.get(product) in stored:
                named[bias.removesuffix("bias") + "weight"] = stored[products[product]].T.contiguous()
    return named


def _count(weights: dict[str, Tensor], above: str) -> int:
    return len({name.removeprefix(above).split(".")[0] for name in weights if name.startswith(above)})


def _fill(network: nn.Module, weights: dict[str, Tensor], above: str) -> None:
    own = {name.removeprefix(above): tensor for name, tensor in weights.items() if name.startswith(above)}
    lacking = sorted(network.state_dict().keys() - own.keys() - {"phone.weight", "speaker.weight"})
    if lacking:
        raise KeyError(f"it has no {', '.join(lacking)}")
    network.load_state_dict(own, strict=False)
