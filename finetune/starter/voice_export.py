"""Trained networks to the files that app/workers/voice.py reads. Knows no training data and no text."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from app.pronounce import PHONES
from app.workers.frames import frame_positions
from app.workers.vocoder import HOP, RATE
from finetune.starter.voice_acoustic import Acoustic, voiced_tone
from finetune.starter.voice_vocoder import FilterNetwork, Scale

OPSET = 17
GAIN = 1.6  # training's level, -22 dBFS, to -18 dBFS: about as loud as other assistants
SMALL = 1024  # weights of smaller tensors stay 32 bit: they are norms and biases


@dataclass(frozen=True, slots=True)
class Sharpening:
    """What undoes the flattening of a mean-squared world: predictions vary less than speech does."""

    mel: float = 1.0
    """Factor on each band's deviation from its mean over the corpus."""
    pitch: float = 1.0
    """Factor on the pitch's deviation from the voice's mean, in logarithms."""


class _Encoder(nn.Module):
    def __init__(self, acoustic: Acoustic) -> None:
        super().__init__()
        self.acoustic = acoustic

    def forward(self, phones: Tensor, places: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        states, steps = self.acoustic.encode(phones, places, speaker)
        return states, steps.exp()


class Decoder(nn.Module):
    """States [B, P, D], owner [B, T], position [B, T, 4] to pitch [B, T] and cepstra [B, T, K], as they are served.

    `mask` [B, T], in training, is 0 behind the frames of a shorter row.
    """

    def __init__(self, acoustic: Acoustic, vocoder: FilterNetwork, scale: Scale, sharpening: Sharpening) -> None:
        super().__init__()
        self.acoustic, self.vocoder, self.scale, self.sharpening = acoustic, vocoder, scale, sharpening

    def forward(
        self, states: Tensor, owner: Tensor, position: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = torch.ones_like(owner, dtype=torch.float32) if mask is None else mask
        mel, predicted = self.acoustic.decode(states, owner, position, mask)
        tone = voiced_tone(predicted) * torch.tensor([self.sharpening.pitch, 1.0], device=predicted.device)
        harmonic, noise = self.vocoder(mel * self.sharpening.mel, tone, mask)
        hertz = torch.exp(tone[..., 0] * self.scale.pitch_deviation + self.scale.pitch_mean) * tone[..., 1]
        return hertz, harmonic, noise


def export(
    acoustic: Acoustic,
    vocoder: FilterNetwork,
    scale: Scale,
    folder: Path,
    *,
    names: Sequence[str],
    sharpening: Sharpening,
    front: Mapping[str, Any] | None = None,
) -> None:
    """Writes encoder.onnx, decoder.onnx (weights in 16 bit) and voice.json below `folder`.

    `names`: of the voices, one a speaker. `front`: `front_end.facts_of` a voice that is not English.
    """
    folder.mkdir(parents=True, exist_ok=True)
    acoustic.eval()
    vocoder.eval()
    phones, places = torch.ones(1, 5, dtype=torch.long), torch.zeros(1, 5, dtype=torch.long)
    owner, position = (torch.from_numpy(part)[None] for part in frame_positions(np.array([3, 4, 2, 5, 6])))
    speaker = torch.zeros(1, dtype=torch.long)
    states, _ = acoustic.encode(phones, places, speaker)
    decoder = Decoder(acoustic, vocoder, scale, sharpening)
    encoded = {"phones": phones, "places": places, "speaker": speaker}
    _write(folder / "encoder.onnx", _Encoder(acoustic), encoded, ["states", "frames"], "P")
    inputs = {"states": states.detach(), "owner": owner, "position": position}
    _write(folder / "decoder.onnx", decoder, inputs, ["hertz", "harmonic", "noise"], "T")
    facts = {
        **({"format": 1, "phones": list(PHONES)} if front is None else {"format": 2, **front}),
        "names": list(names),
        "sample_rate": RATE,
        "hop": HOP,
        "reach_frames": reach(acoustic, vocoder),
        "gain": GAIN,
    }
    (folder / "voice.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def reach(acoustic: Acoustic, vocoder: FilterNetwork) -> int:
    """Frames on each side that an output frame depends on: half of every convolution's kernel."""
    layers: list[Any] = [*acoustic.tone_blocks, *acoustic.decoder, *vocoder.blocks]
    return sum(int(block.depthwise.kernel_size[0]) // 2 for block in layers)


def _write(path: Path, network: nn.Module, inputs: dict[str, Tensor], outputs: list[str], axis: str) -> None:
    axes = {name: {1: "P" if name == "states" else axis} for name in [*inputs, *outputs] if name != "speaker"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without dynamo announces its own retirement
        torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    _halve(path)


def _halve(path: Path) -> None:
    """Stores large weights in 16 bit with a cast behind each; onnxruntime folds the casts when it loads the file."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
        casts.append(onnx.helper.make_node("Cast", [name + ".half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
