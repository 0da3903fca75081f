"""What tests of the joint recipe share."""

from __future__ import annotations

import pytest
import torch

from finetune.recipes import joint
from tests.finetune.joint.place import Place
from tests.finetune.joint.tiny_joint import write_data, write_unpaired


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("joint")
    made = Place(folder, write_data(folder / "data"))
    write_unpaired(folder / "unpaired")
    joint.run(made.config("staged", "rung=staged"))
    return made
