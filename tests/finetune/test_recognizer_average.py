"""Weights between the base's and the trained ones: what is tried, what is chosen, what is exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from finetune import config
from finetune.errors import ConfigError
from finetune.recipes import recognizer
from finetune.recipes.recognizer_average import average, weights_of
from finetune.recipes.recognizer_config import Average
from finetune.recipes.recognizer_model import Network, load
from tests.finetune.tiny_whisper import TINY, write_base, write_data

SHORT = (
    "training.steps=4", "training.evaluate_every=4", "training.save_every=4", "rows=4", "training.warm_up_steps=0",
    "export.quantization=float32",
)  # fmt: skip
RATES = {0.0: (0.1, 0.5), 0.1: (0.15, 0.305), 0.2: (0.12, 0.3), 0.3: (0.2, 0.31), 1.0: (1.0, 0.3)}
"""Share of the base to new and old rate."""


def of(folder: Path, base: Path, *overrides: str) -> recognizer.Config:
    return config.load(recognizer.Config, TINY, [f"run={folder / 'run'}", f"base={base}", *SHORT, *overrides])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_base(tmp_path_factory.mktemp("average") / "base")


def chosen(network: Network, may_rise: float) -> float:
    """The share that is chosen by RATES; the network says by its first weight which one is in it."""
    before = weights_of(network)
    name = next(iter(before))
    network.whisper.load_state_dict({key: value + 1 if key == name else value for key, value in before.items()})

    def measure() -> dict[str, float]:
        share = 1 - float((network.whisper.state_dict()[name] - before[name]).mean())
        new, old = RATES[round(share, 2)]
        return {"dev_wer": new, "dev_loss": 9.0, "old_dev_wer": old, "old_dev_loss": 9.0}

    found = average(network, before, Average((0.1, 0.2, 0.3), may_rise), measure)
    assert measure()["dev_wer"] == found["tried"][f"{found['share']:g}"]["dev_wer"]
    assert list(found["tried"]) == ["0", "0.1", "0.2", "0.3", "1"]
    network.whisper.load_state_dict(before)
    return float(found["share"])


def test_the_lowest_new_rate_of_those_that_keep_the_old_one_is_chosen(tmp_path: Path, base: Path) -> None:
    network, _ = load(base, of(tmp_path, base, f"data=[{base}]"))
    assert chosen(network, 0.01) == 0.2
    assert chosen(network, 0.5) == 0.0
    assert chosen(network, -0.1) == 0.2  # none keeps it: the one that keeps most


def test_what_is_between_is_exported_and_noted(tmp_path: Path, base: Path) -> None:
    new = write_data(tmp_path / "new", ["eins zwei", "drei"])
    old = write_data(tmp_path / "old", ["vier", "zwei"], language="en", name="old")
    data = (f"data=[{new}]", f"rehearsal={{data: [{old}], share: 0.5}}")
    recognizer.run(of(tmp_path, base, *data))
    trained = load_file(tmp_path / "run/export/hf/model.safetensors")
    recognizer.run(of(tmp_path, base, *data, "export.average.shares=[0.25]"), resume=True)
    facts = json.loads((tmp_path / "run/facts.json").read_text())["average"]
    assert set(facts["tried"]) == {"0", "0.25", "1"}
    assert set(facts["tried"]["1"]) == {"dev_wer", "dev_loss", "old_dev_wer", "old_dev_loss"}
    before, exported = load_file(base / "model.safetensors"), load_file(tmp_path / "run/export/hf/model.safetensors")
    name = "model.encoder.layers.0.fc1.weight"
    assert torch.allclose(exported[name], torch.lerp(trained[name], before[name], facts["share"]))


def test_without_an_old_language_nothing_can_decide(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ConfigError, match=r"export\.average: got shares without rehearsal\.data, expected some"):
        of(tmp_path, base, "data=[a]", "export.average.shares=[0.1]")
    with pytest.raises(ConfigError, match=r"average\.shares: got 1\.0, expected 0 to less than 1"):
        of(tmp_path, base, "data=[a]", "export.average.shares=[1.0]")
