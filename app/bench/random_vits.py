"""A VITS of Coqui TTS in its usual size with random weights, and the least time that its arithmetic takes.

It says how fast such a voice is here, and nothing about how one sounds. Needs the environment of `make coqui`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

LENGTH_SCALE = 1.8  # stretches the short lengths of an untrained network to those of speech, 14 characters a second
SENTENCE = "The lights in the kitchen are on, and your timer has started."
SIDE = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product says what the device can do
TRIES = 5


def write_vits(folder: Path) -> None:
    """A voice folder as packs have them: configuration and weights, those of LJSpeech's VITS in shape."""
    import torch
    from safetensors.torch import save_file
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits

    values = {"model": "vits", "model_args": {"init_discriminator": False, "length_scale": LENGTH_SCALE}}
    config = VitsConfig()
    config.from_dict(values)
    torch.manual_seed(1)
    weights = Vits(config).state_dict()
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    save_file({name: tensor.clone().contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")


def floor_rtf(folder: Path, *, device: str, threads: int) -> float:
    """Seconds for the multiplications of one second of speech, at the speed of a large matrix product on the device."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from app.workers.coqui_vits_network import Line, VitsNetwork

    network = VitsNetwork(folder, device=device, threads=threads)
    with FlopCounterMode(display=False) as counter:
        (waveform,) = network.speak([Line(network.tokens(SENTENCE))])
    seconds = len(waveform) / network.sample_rate
    return float(counter.get_total_flops() / _flops_a_second(torch, str(network.device)) / seconds)


def _flops_a_second(torch: Any, device: str) -> float:
    kind = device.partition(":")[0]
    side = SIDE[kind]
    matrix = torch.rand(side, side, device=device)
    exact = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True  # as convolutions do by default
    try:
        least = min(_seconds_of_product(torch, matrix, kind) for _ in range(TRIES))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = exact
    return float(2 * side**3 / least)


def _seconds_of_product(torch: Any, matrix: Any, kind: str) -> float:
    began = time.perf_counter()
    matrix @ matrix
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
