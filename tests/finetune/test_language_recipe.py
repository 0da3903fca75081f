"""The language recipe on a tiny Llama: pinned numbers, kill -9 and resume, exports that are served, refusals."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from app import REPOSITORY
from app.errors import PackError
from app.workers.adapters import check_adapter, rank_of
from app.workers.base_hash import base_sha256
from finetune import checkpoint, config
from finetune.command import main
from finetune.data.errors import DataError
from finetune.data.ledger import Ledger
from finetune.data.rows import Turn
from finetune.data_of_run import dialogues
from finetune.errors import ConfigError, ParityError
from finetune.recipes import language, language_export
from finetune.recipes.language_noise import write_confusions
from finetune.recipes.language_rows import IGNORED, Encoder, tensors
from tests.finetune.tiny_chat import SAID, TINY, call, dialogue, write_base, write_data

SHORT = ("training.steps=8", "training.evaluate_every=4", "training.save_every=3", "training.log_every=2", "rows=2")

LEARNT = ("training.steps=60", "training.learning_rate=1e-2", "rows=6", "lora.r=32")


@dataclasses.dataclass(frozen=True)
class Place:
    """A tiny base and dialogues."""

    folder: Path
    base: Path
    data: Path

    def config(self, name: str, *overrides: str) -> language.Config:
        return config.load(language.Config, TINY, self.overrides(name, *overrides))

    def overrides(self, name: str, *others: str) -> list[str]:
        return [f"run={self.folder / name}", f"base={self.base}", f"data=[{self.data}]", *others]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("language")
    return Place(folder, write_base(folder / "base"), write_data(folder / "data"))


@pytest.fixture(scope="module")
def learnt(place: Place) -> Path:
    """A run that has learnt its dialogues by heart, with both exports."""
    made = place.config("learnt", *LEARNT)
    language.run(made)
    return Path(made.run)


@pytest.fixture(scope="module")
def encoder(place: Place) -> Encoder:
    return Encoder(tokenizer(place), [1], "Kurz.")


def tokenizer(place: Place) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place.base)


def dev_losses(run: Path) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["dev_loss"] for row in rows if "dev_loss" in row]


def test_a_few_steps_give_these_numbers_also_after_kill_9(place: Place) -> None:
    changes = (*SHORT, "export.form=adapter", "lora.dropout=0.1")
    language.run(place.config("unbroken", *changes))
    assert dev_losses(place.folder / "unbroken") == pytest.approx([6.43455, 5.74894], rel=2e-3)

    command = [sys.executable, "-m", "tests.finetune.tiny_chat", "5", *place.overrides("killed", *changes)]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == -9
    killed = place.config("killed", *changes)
    assert checkpoint.load(Path(killed.run) / "checkpoint.pt")["progress"]["step"] == 3
    language.run(killed, resume=True)
    assert dev_losses(place.folder / "killed") == dev_losses(place.folder / "unbroken")
    adapters = [place.folder / name / "export/adapter" for name in ("unbroken", "killed")]
    for path in adapters[0].iterdir():
        assert path.read_bytes() == (adapters[1] / path.name).read_bytes(), path.name
    assert json.loads((adapters[0] / "adapter_config.json").read_text())["target_modules"][0] == "down_proj"  # sorted


def test_what_is_exported_answers_as_the_trainer(place: Place, learnt: Path) -> None:
    facts = json.loads((learnt / "facts.json").read_text())
    assert facts["export"] == ["adapter", "hf", "language"]
    assert facts["parity"]["adapter"] == {"prompts": 5, "same": 5, "ties": 0, "refused": 0}
    assert facts["parity"]["merged"] == {"prompts": 5, "same": 5, "ties": 0, "refused": 0}
    base = base_sha256(place.base)
    check_adapter(learnt / "export/adapter", base)
    assert rank_of(learnt / "export/adapter") == 32
    with pytest.raises(PackError, match="was trained on base"):
        check_adapter(learnt / "export/adapter", "0" * 64)
    made = Encoder(tokenizer(place), [1], "You are Parley, a friendly voice assistant.")
    asked = [*(dialogue(str(i), *pair, "train") for i, pair in enumerate(SAID.items())), call("call", "train")]
    asked[-1] = dataclasses.replace(asked[-1], turns=asked[-1].turns[:2])  # up to the call
    prompts = language_export.prompts_of(made, asked, 6)
    answers = language_export.served(learnt / "export", prompts, 32)
    assert [answer.text for answer in answers[:-1]] == list(SAID.values())
    assert [(name, json.loads(arguments)) for name, arguments in answers[-1].calls] == [("light", {"on": True})]


def test_an_export_that_answers_otherwise_is_taken_back(
    place: Place, learnt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = language_export.save_merged

    def damaged(model: Any, tokenizer: Any, folder: Path) -> None:
        """What a faulty conversion would write: one matrix with another sign."""
        save(model, tokenizer, folder)
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith("down_proj.weight"))
        save_file({**weights, name: -weights[name]}, folder / "model.safetensors", {"format": "pt"})

    shutil.copytree(learnt, tmp_path / "run")
    monkeypatch.setattr(language_export, "save_merged", damaged)
    made = place.config("learnt", *LEARNT)
    with pytest.raises(ParityError, match=r"language: on dialogue dev-\d the exported model answers .* allows 0\.5$"):
        language.run(dataclasses.replace(made, run=str(tmp_path / "run")), resume=True)
    assert not (tmp_path / "run/export").exists()


def test_a_reply_that_rounding_has_changed_is_blamed_on_it(
    place: Place, learnt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = language_export.served

    def rounded(*asked: Any, compute_type: str = "int8") -> list[language_export.Answer]:
        """The real replies, and in int8 others."""
        answers = served(*asked, compute_type=compute_type)
        return [language_export.Answer("uhr"), *answers[1:]] if compute_type == "int8" else answers

    shutil.copytree(learnt, tmp_path / "run")
    monkeypatch.setattr(language_export, "served", rounded)
    with pytest.raises(ParityError, match="so rounding to int8 is to blame"):
        language.run(place.config("x", *LEARNT, f"run={tmp_path / 'run'}", "export.form=merged"), resume=True)


def test_another_reply_is_as_far_behind_as_its_least_likely_token(place: Place, learnt: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, made = AutoModelForCausalLM.from_pretrained(learnt / "export/hf").eval(), tokenizer(place)
    ids = Encoder(made, [1], "You are Parley, a friendly voice assistant.").prompt(
        [{"role": "system", "content": "You are Parley, a friendly voice assistant."},
         {"role": "user", "content": "hallo"}], [],
    )  # fmt: skip
    ours = language_export.greedy(model, made, ids, 32)
    assert ours.text == "ja bitte"
    assert language_export.behind(model, made, ids, ours, 32) == 0.0
    assert language_export.behind(model, made, ids, language_export.Answer("ja"), 32) > 1.0
    assert language_export.behind(model, made, ids, language_export.Answer("", (("light", "{}"),)), 32) == float("inf")


def test_new_tokens_are_served_from_a_merged_model(place: Place) -> None:
    made = place.config(
        "tokens", *SHORT, "training.steps=40", "training.learning_rate=1e-2", "new_tokens=[uhr, parley]",
        "export.form=merged", "rows=6",
    )  # fmt: skip
    language.run(made)
    vocabulary = json.loads((Path(made.run) / "export/language/tokenizer.json").read_text())["added_tokens"]
    assert {"uhr", "parley"} <= {token["content"] for token in vocabulary}
    assert json.loads((Path(made.run) / "facts.json").read_text())["parity"]["merged"]["prompts"] == 5


def test_the_assistant_alone_is_learnt_of_packed_dialogues(place: Place, encoder: Encoder) -> None:
    rows = [row for one in (dialogue("a", "wie spät ist es", "es ist drei uhr", "train"), call("b", "train"))
            for row in encoder.rows(one)]  # fmt: skip
    assert len(rows) == 2
    written = ["".join(decoded(place, [i for i, w in zip(row.ids, row.written, strict=True) if w])) for row in rows]
    assert written == [
        "ja bitte<|im_end|>es ist drei uhr<|im_end|>",
        '<tool_call>{"name": "light", "arguments": {"on": true}}</tool_call><|im_end|>das licht ist an<|im_end|>',
    ]
    model, _ = language.load(place.base, place.config("x"))
    model.eval()
    together, apart = tensors([rows]), [tensors([[row]]) for row in rows]
    assert int((together["labels"] != IGNORED).sum()) == sum(sum(row.written) for row in rows)
    with torch.no_grad():
        packed = language.loss(model, together)
        single = [language.loss(model, one) for one in apart]
    assert packed[1] == sum(count for _, count in single)
    torch.testing.assert_close(packed[0], single[0][0] + single[1][0])  # they do not see each other


def decoded(place: Place, ids: list[int]) -> str:
    return str(tokenizer(place).decode(ids))


def test_a_template_that_rewrites_earlier_turns_gives_one_row_a_reply(place: Place) -> None:
    last_only = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content if loop.last or m.role == 'user' else '-' }}"
    )
    made = tokenizer(place)
    made.chat_template = last_only + (
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    rows = Encoder(made, [1]).rows(dialogue("a", "was", "das", "train"))
    learnt = [decoded(place, [i for i, w in zip(row.ids, row.written, strict=True) if w]) for row in rows]
    assert learnt == ["ja bitte<|im_end|>", "das<|im_end|>"]
    made.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    with pytest.raises(DataError, match="expected it to begin a reply"):
        Encoder(made, [1]).rows(dialogue("a", "was", "das", "train"))
    with pytest.raises(DataError, match="does not write the call"):
        Encoder(tokenizer_without_calls(place), [1]).rows(call("a", "train"))
    made.chat_template = None
    with pytest.raises(ConfigError, match="has no chat template"):
        Encoder(made, [1])


def tokenizer_without_calls(place: Place) -> Any:
    made = tokenizer(place)
    made.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return made


def test_noise_and_rehearsal_change_what_is_learnt_by_number_alone(place: Place, tmp_path: Path) -> None:
    write_confusions(tmp_path / "c.tsv", {"spät": Counter({"speck": 3}), "morgen": Counter({"sorgen": 1})})
    noisy = place.config(
        "n", f"noise.confusions={tmp_path / 'c.tsv'}", "noise.share=1", "noise.word_rate=1", "rows=3",
        f"rehearsal.data=[{place.data}]", "rehearsal.share=0.5",
    )  # fmt: skip
    data = dialogues(noisy.data, noisy.training).train
    made = [language.Batches(noisy, Encoder(tokenizer(place), [1]), data, data) for _ in range(2)]
    assert made[0].summary().startswith("6 rows, 6 to rehearse")
    batches = [made[0].batch(number)["input_ids"] for number in range(8)]
    assert all(torch.equal(made[1].batch(number)["input_ids"], batches[number]) for number in (7, 2))
    texts = "".join(decoded(place, row.tolist()) for batch in batches[:4] for row in batch)
    assert texts.count("wie speck ist es") == 2
    assert "spät" not in texts
    assert "guten sorgen" in texts
    assert "guten morgen anna" in texts  # the answer is the assistant's


def test_what_cannot_be_trained_or_served_is_refused(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for fault in ("new_tokens=[uhr]", "lora.modules_to_save=[lm_head]"):
        with pytest.raises(ConfigError, match=r"export\.form: got 'both' .* expected merged: vLLM loads no such"):
            place.config("x", fault)
    with pytest.raises(ConfigError, match=r"no module query, expected some of .*q_proj"):
        language.load(place.base, place.config("x", "lora.target_modules=[query]"))
    with pytest.raises(ConfigError, match="expected a folder or the name of a model"):
        language.base_folder("no such/model at all", Path("unused"))
    with pytest.raises(ConfigError, match=r"rehearsal\.share: got 1\.0"):
        place.config("x", "rehearsal.share=1.0")
    silent = dataclasses.replace(dialogue("a", "x", "y", "train"), turns=(Turn("user", "hallo"),))
    with pytest.raises(DataError, match="got no row with a reply"):
        language.Batches(place.config("x"), Encoder(tokenizer(place), [1]), [silent], [])
    assert main(["language", "--config", str(TINY), "rows=x"]) == 1
    assert "rows: got 'x', expected a whole number" in capsys.readouterr().err


def test_the_command_says_what_a_run_would_take(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["language", "--config", str(TINY), *place.overrides("dry"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "6 rows, 0 to rehearse; 67 tokens are the assistant's" in said
    assert "trained    32,768 of 132,864 parameters" in said
    assert not (place.folder / "dry").exists()


def test_a_run_is_in_the_ledger_and_the_full_configuration_is_read(learnt: Path, place: Place) -> None:
    assert Ledger(place.data.parent / "ledger.jsonl").speakers() == {}  # the dialogues name no speaker
    assert json.loads((place.data.parent / "ledger.jsonl").read_text().splitlines()[0])["event"] == "run"
    config.load(language.Config, REPOSITORY / "finetune/configs/language.yaml")
