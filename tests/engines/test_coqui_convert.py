"""Coqui checkpoints as voice folders. Run by `make test-coqui`, in the environment of Coqui."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from app.workers.coqui_convert import main
from app.workers.coqui_vits_network import Line, VitsNetwork
from tests.engines import coqui_models

TEXT = "Hello there."


def as_checkpoint(voice: Path, name: str, prefix: str = "") -> Path:
    """The folder with its weights pickled as Coqui's trainer writes them, with what only training needs."""
    weights = {prefix + key: tensor for key, tensor in load_file(voice / "model.safetensors").items()}
    (voice / "model.safetensors").unlink()
    torch.save({"model": {**weights, "disc.net.0.weight": torch.zeros(1)}, "config": {}, "step": 1}, voice / name)
    return voice


def spoken(voice: Path, speaker: int = 0) -> list[float]:
    network = VitsNetwork(voice, device="cpu")
    samples: list[float] = network.speak([Line(network.tokens(TEXT), speaker)])[0].tolist()
    return samples


def test_a_vits_speaks_as_before(tmp_path: Path) -> None:
    voice = coqui_models.vits(tmp_path / "voice", ("anna", "ben"))
    before = spoken(voice, 1)
    as_checkpoint(voice, "best_model_7.pth")
    (voice / "speakers.json").unlink()
    torch.save({"anna": 0, "ben": 1}, voice / "speakers.pth")
    assert main([str(voice), str(tmp_path / "pack" / "voice")]) == 0
    assert sorted(path.name for path in (tmp_path / "pack" / "voice").iterdir()) == [
        "config.json", "model.safetensors", "speakers.json",
    ]  # fmt: skip
    assert spoken(tmp_path / "pack" / "voice", 1) == before


def test_a_voice_of_the_mms_project_speaks_as_before(tmp_path: Path) -> None:
    voice = coqui_models.mms(tmp_path / "voice")
    torch.manual_seed(5)  # its noise scales are not 0
    before = spoken(voice)
    weights = {as_fairseq(key): tensor for key, tensor in load_file(voice / "model.safetensors").items()}
    (voice / "model.safetensors").unlink()
    torch.save({"model": weights}, voice / "G_100000.pth")
    assert main([str(voice), str(tmp_path / "pack")]) == 0
    torch.manual_seed(5)
    assert spoken(tmp_path / "pack") == before


def as_fairseq(name: str) -> str:
    """A weight's name in fairseq's VITS: steps of a flow that have no weights are counted there."""
    for coqui, fairseq in {"text_encoder": "enc_p", "waveform_decoder": "dec", "posterior_encoder": "enc_q"}.items():
        name = re.sub(rf"^{coqui}\.", f"{fairseq}.", name)
    name = re.sub(r"^flow\.flows\.(\d)", lambda found: f"flow.flows.{2 * int(found[1])}", name)
    name = name.replace("flows.0.translation", "flows.0.m").replace("flows.0.log_scale", "flows.0.logs")
    name = re.sub(r"(?<=^duration_predictor\.flows\.)[2-9]", lambda found: str(2 * int(found[0]) - 1), name)
    name = re.sub(r"(?<=^duration_predictor\.post_flows\.)[2-9]", lambda found: str(2 * int(found[0]) - 1), name)
    return name.replace("duration_predictor.", "dp.")


def test_an_xtts_keeps_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coqui_models.shrink_xtts(monkeypatch)
    voice = coqui_models.xtts(tmp_path / "voice")
    before = load_file(voice / "model.safetensors")
    as_checkpoint(voice, "model.pth", "xtts.")
    (voice / "dvae.pth").write_bytes(b"of the training")
    assert main([str(voice), str(tmp_path / "pack")]) == 0
    after = load_file(tmp_path / "pack" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class Evil:
    """What a pickle can do."""

    def __init__(self, victim: Path) -> None:
        self._victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self._victim),)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voice = coqui_models.vits(tmp_path / "voice")
    (voice / "model.safetensors").unlink()
    torch.save({"model": {}, "config": Evil(tmp_path / "victim")}, voice / "model.pth")
    assert main([str(voice), str(tmp_path / "pack")]) == 1
    assert "is no checkpoint of tensors" in capsys.readouterr().err
    assert not (tmp_path / "victim").exists()
    assert not (tmp_path / "pack" / "model.safetensors").exists()


def test_what_does_not_fit_or_is_not_one_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voice = coqui_models.vits(tmp_path / "voice")
    shutil.copytree(voice, tmp_path / "none")
    torch.save({"model": {"other": torch.zeros(1)}}, voice / "model.pth")
    assert main([str(voice), str(tmp_path / "pack")]) == 1
    assert "does not fit" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), str(tmp_path / "pack")]) == 1
    assert "has 0 checkpoints (*.pth), expected one" in capsys.readouterr().err
