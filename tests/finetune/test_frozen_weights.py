"""What stays of a model in training, by pattern, and a chat model that is trained whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from finetune import config
from finetune.errors import ConfigError
from finetune.recipes import language, synthesizer_starter
from tests.finetune import tiny_chat, tiny_voice

WHOLE = ("method=full", "export.form=merged")
LEARNT = ("training.steps=60", "training.learning_rate=5e-3", "rows=6")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_chat.write_base(tmp_path_factory.mktemp("frozen") / "base")


def made(base: Path, *overrides: str) -> language.Config:
    given = [f"run={base.parent / 'run'}", f"base={base}", "data=[nothing.jsonl]", *overrides]
    return config.load(language.Config, tiny_chat.TINY, given)


def trained(model: nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_a_chat_model_is_trained_whole_and_exported_as_it_answers(base: Path) -> None:
    data = tiny_chat.write_data(base.parent / "data")
    own = made(base, f"data=[{data}]", *WHOLE, *LEARNT, "frozen=[model.embed_tokens.*]")
    language.run(own)
    from transformers import AutoModelForCausalLM

    before, after = (
        AutoModelForCausalLM.from_pretrained(one).state_dict() for one in (base, Path(own.run, "export/hf"))
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        name for name in before if not name.startswith(("model.embed_tokens.", "lm_head."))
    }  # these two are one


def test_adapters_stay_out_of_layers_that_are_frozen(base: Path) -> None:
    whole, _ = language.load(base, made(base))
    some, _ = language.load(base, made(base, "frozen=[model.layers.0.*]"))
    assert {name for name in trained(whole) if ".layers.0." not in name} == trained(some) != trained(whole)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (
            ["frozen=[model.layers.77.*]"],
            r"frozen: 'model\.layers\.77\.\*' matches no weight, expected one like model\.",
        ),
        (["frozen=['*']"], "which leaves no weight to train"),
        (["method=full"], "export.form: got 'both' with method full, expected merged"),
        ([*WHOLE, "base_precision=bfloat16"], "base_precision: got bfloat16 with method full, expected float32"),
    ],
)
def test_what_leaves_nothing_or_cannot_be_is_refused(base: Path, overrides: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        language.load(base, made(base, *overrides))


def test_parts_of_a_voice_stay(tmp_path: Path) -> None:
    def networks(*patterns: str) -> tuple[Any, ...]:
        given = [f"run={tmp_path}", "data=[nothing.jsonl]", f"frozen=[{', '.join(patterns)}]"]
        return synthesizer_starter.networks(config.load(synthesizer_starter.Config, tiny_voice.TINY, given), "abc", 1)

    acoustic, vocoder = networks("acoustic.encoder.*", "vocoder.enter.*")
    assert not any(name.startswith("encoder.") for name in trained(acoustic))
    assert not any(name.startswith("enter.") for name in trained(vocoder))
    assert {"mel.1.weight"} < trained(acoustic)
    with pytest.raises(ConfigError, match="which leaves vocoder no weight to train"):
        networks("vocoder.*")
