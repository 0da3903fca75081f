"""The recipe for cloned voices on the real classes, of test size. Run by `make test-coqui`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune import config
from finetune.data.errors import DataError
from finetune.errors import ConfigError, ParityError
from finetune.recipes import synthesizer_xtts, synthesizer_xtts_model
from tests.engines import coqui_models
from tests.engines.coqui_data import TINY, write_data
from tests.engines.test_coqui_recipe import measured

CONFIG = TINY.with_name("synthesizer_xtts.yaml")
SHORT = (
    "training.steps=4", "training.evaluate_every=2", "training.save_every=2", "training.log_every=1", "rows=2",
    "training.precision='no'", "training.threads=1", "training.device=cpu", "export.parity_texts=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """data/, and base/ with the network that makes codes; second of speech by second it would be slow at full width."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("xtts")
    write_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        coqui_models.shrink_xtts(patch)
        base(folder / "base", "ö")
        yield folder


def base(folder: Path, more_letters: str = "") -> Path:
    coqui_models.xtts(folder, more_letters, gpt_code_stride_len=1024)
    args = json.loads((folder / "config.json").read_text())["model_args"]
    codes = synthesizer_xtts_model.codes_of(type("Args", (), args))
    torch.save(codes.state_dict(), folder / "dvae.pth")
    return folder


def configured(place: Path, name: str, *others: str) -> synthesizer_xtts.Config:
    where = [f"run={place / name}", f"base={place / 'base'}", f"data=[{place / 'data/manifest.jsonl'}]"]
    return config.load(synthesizer_xtts.Config, CONFIG, [*where, *SHORT, *others])


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    synthesizer_xtts.run(configured(place, "unbroken"))
    return place / "unbroken"


def test_a_few_steps_give_these_numbers_and_the_voice_speaks_as_the_trainer(trained: Path, place: Path) -> None:
    losses = [row["dev_loss"] for row in measured(trained) if "dev_loss" in row]
    assert losses == pytest.approx([23.36051, 23.35848], rel=1e-5)
    facts = json.loads((trained / "facts.json").read_text())
    assert facts["parity"]["voice"] == {"clips": 1, "same": 1, "ties": 0, "refused": 0, "limit": 0.0}
    assert facts["settings"] == {
        "engine": "coqui-xtts", "names": ["anna"], "sample_rate": 24_000, "licence": "CPML",
        "reference": "reference.wav", "consent": "training",
    }  # fmt: skip
    old, new = (load_file(folder / "model.safetensors") for folder in (place / "base", trained / "export/voice"))
    learnt = {name for name in old if not torch.equal(old[name], new[name])}
    assert learnt
    assert all(name.startswith("gpt.") for name in learnt)


def test_an_interrupted_run_resumes_to_the_same_bits(
    trained: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = synthesizer_xtts_model.Batches.batch

    def ending(self: synthesizer_xtts_model.Batches, number: int) -> Any:
        if number == 3:
            raise KeyboardInterrupt
        return batch(self, number)

    monkeypatch.setattr(synthesizer_xtts_model.Batches, "batch", ending)
    with pytest.raises(KeyboardInterrupt):
        synthesizer_xtts.run(configured(place, "broken"))
    monkeypatch.setattr(synthesizer_xtts_model.Batches, "batch", batch)
    with pytest.raises(ParityError, match=r"differs from what the trainer says .* parity_difference allows -1"):
        synthesizer_xtts.run(configured(place, "broken", "export.parity_difference=-1"), resume=True)
    assert measured(place / "broken") == measured(trained)
    assert not (place / "broken/export").exists()


def test_what_cannot_be_trained_is_refused(place: Path, tmp_path: Path) -> None:
    for override, said in (
        ("reference=nobody", r"reference: got 'nobody', expected the id of a row of train"),
        (f"base={coqui_models.xtts(tmp_path / 'bare')}", r"has no dvae\.pth, expected it beside XTTS's model\.pth"),
        (f"base={base(tmp_path / 'ascii')}", "it cannot spell ö, expected all letters"),
        ("licence=''", "licence: got nothing"),
    ):
        with pytest.raises(ConfigError, match=said):
            synthesizer_xtts.run(configured(place, "x", override))
    with pytest.raises(DataError, match=r"got no clip of split train of 0\.5 to 0\.6 s"):
        synthesizer_xtts.run(configured(place, "x", "longest_s=0.6"))
    manifest = place / "data/manifest.jsonl"
    (manifest.parent / "unasked.jsonl").write_text(manifest.read_text().replace('"training"', '""'))
    with pytest.raises(ConfigError, match="names no consent, expected who agreed"):
        synthesizer_xtts.run(configured(place, "x", f"data=[{manifest.parent / 'unasked.jsonl'}]"))
