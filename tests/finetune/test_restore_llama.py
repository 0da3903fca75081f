"""A pack's language model as a Hugging Face folder: the same weights, the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ctranslate2.converters import TransformersConverter

from app import REPOSITORY
from finetune.data.rows import Dialogue, Turn
from finetune.errors import ConfigError
from finetune.recipes.language_export import end_tokens, greedy, prompts_of, served
from finetune.recipes.language_rows import Encoder
from finetune.restore_llama import COPIED, is_pack, of_pack, restore
from tests.finetune.tiny_chat import write_base

STARTER = REPOSITORY / "models/packs/en-starter"
SAID = ("what time is it", "my name is anna", "what is twelve plus thirty", "tell me a story", "do you like cheese")


def test_starter_writes_the_same_words(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = of_pack(STARTER, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    encoder = Encoder(tokenizer, end_tokens(model), "You are Parley, a friendly voice assistant.")
    asked = [
        Dialogue(str(i), "en", (Turn("user", said), Turn("assistant", "?")), "made for a test", "CC0-1.0", "training")
        for i, said in enumerate(SAID)
    ]
    prompts = prompts_of(encoder, asked, len(asked))
    answers = [greedy(model, tokenizer, prompt.ids, 32) for prompt in prompts]
    assert answers == served(STARTER, prompts, 32, compute_type="float32")
    assert answers[1].text


@pytest.mark.parametrize("tied", [True, False])
def test_weights_come_back(tmp_path: Path, tied: bool) -> None:
    folder, model = converted(tmp_path, tie_word_embeddings=tied)
    from transformers import LlamaForCausalLM

    again = LlamaForCausalLM.from_pretrained(restore(folder, tmp_path / "base"))
    assert again.config.tie_word_embeddings == tied
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_what_is_there_is_left(tmp_path: Path) -> None:
    folder, _ = converted(tmp_path)
    base = restore(folder, tmp_path / "base")
    written = (base / "model.safetensors").stat().st_mtime_ns
    assert restore(folder, tmp_path / "base") == base
    assert (base / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.glob("base*")] == ["base"]


def test_refuses_what_is_no_llama(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="WhisperSpec, expected the TransformerDecoderSpec"):
        restore(STARTER / "recognizer", tmp_path / "base")
    folder, _ = converted(tmp_path, attention_bias=True)
    with pytest.raises(ConfigError, match=r"linear_0/bias.*expected a Llama without"):
        restore(folder, tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_knows_a_pack() -> None:
    assert is_pack(STARTER)
    assert not is_pack(STARTER / "language")


def converted(folder: Path, **changed: Any) -> tuple[Path, Any]:
    """A tiny Llama as CTranslate2 has it in float32, and the model itself."""
    from transformers import LlamaConfig, LlamaForCausalLM

    base = write_base(folder / "tiny")
    torch.manual_seed(3)
    values = {**LlamaConfig.from_pretrained(base).to_dict(), "rope_theta": 50_000.0, **changed}
    model = LlamaForCausalLM(LlamaConfig(**values))
    model.save_pretrained(base)
    target = folder / "converted"
    TransformersConverter(str(base), copy_files=["tokenizer.json", *COPIED[1:]]).convert(str(target))
    return target, model
