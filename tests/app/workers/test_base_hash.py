"""The hash by which adapters know their base."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from app.errors import PackError
from app.workers.base_hash import base_sha256


def test_it_is_what_sha256sum_says(tmp_path: Path) -> None:
    for name, content in {"config.json": "{}", "model-2.safetensors": "b", "model-1.safetensors": "a"}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "README.md").write_text("not part of the model")
    command = "LC_ALL=C sha256sum config.json *.safetensors | sha256sum"
    told = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert base_sha256(tmp_path) == told.split()[0]


@pytest.mark.parametrize("changed", ["config.json", "model.safetensors"])
def test_every_part_of_the_model_counts(tmp_path: Path, changed: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("weights")
    before = base_sha256(tmp_path)
    (tmp_path / changed).write_text("other")
    assert base_sha256(tmp_path) != before


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, missing: str) -> None:
    for name in {"config.json", "model.safetensors"} - {missing}:
        (tmp_path / name).write_text("x")
    with pytest.raises(PackError, match=r"no base model: expected config\.json"):
        base_sha256(tmp_path)
