"""Torch's threads, which CTranslate2 takes away where it loads a model."""

from __future__ import annotations

import torch

from app import REPOSITORY
from app.packs import read_pack
from app.workers import connect
from finetune import threads


def test_a_model_that_is_loaded_takes_no_threads_away() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads.kept():
            connect.load_recognizer(read_pack(REPOSITORY / "models/packs/en-starter"), "whisper", device="cpu")
            inside = torch.get_num_threads()
        assert (inside, torch.get_num_threads()) == (1, 2)
    finally:
        torch.set_num_threads(before)
