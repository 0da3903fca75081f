"""The recognizer recipe on a tiny Whisper: pinned numbers, kill -9 and resume, exports that are served, refusals."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from app import REPOSITORY
from app.pack_build import build
from app.packs import find_pack
from app.workers import connect
from app.workers.whisper_windows import Windows
from finetune import checkpoint, config
from finetune.command import main
from finetune.data.errors import DataError
from finetune.data_of_run import utterances
from finetune.errors import ConfigError, ExportError, ParityError
from finetune.recipes import recognizer, recognizer_export
from finetune.recipes.recognizer_clips import pcm_of
from finetune.recipes.recognizer_model import load
from finetune.recipes.recognizer_rows import Encoder
from tests.finetune.tiny_whisper import SAID, TINY, write_base, write_data
from tests.packs import starter

SHORT = (
    "training.steps=6", "training.evaluate_every=3", "training.save_every=2", "training.log_every=2", "rows=4",
    "training.warm_up_steps=0",
)  # fmt: skip
LEARNT = (
    "training.steps=90", "training.evaluate_every=90", "training.save_every=90", "training.learning_rate=3e-3",
    "training.schedule=constant", "export.tie_nats=0.5", "training.warm_up_steps=5", "rows=4", "spec_augment=0",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Place:
    """A tiny base and clips."""

    folder: Path
    base: Path
    data: Path

    def config(self, name: str, *overrides: str) -> recognizer.Config:
        return config.load(recognizer.Config, TINY, self.overrides(name, *overrides))

    def overrides(self, name: str, *others: str) -> list[str]:
        return [f"run={self.folder / name}", f"base={self.base}", f"data=[{self.data}]", *others]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("recognizer")
    return Place(folder, write_base(folder / "base"), write_data(folder / "data"))


@pytest.fixture(scope="module")
def learnt(place: Place) -> Path:
    """A run that has learnt its words, exported."""
    made = place.config("learnt", *LEARNT)
    recognizer.run(made)
    return Path(made.run)


def dev(run: Path, measure: str) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row[measure] for row in rows if measure in row]


def test_a_few_steps_give_these_numbers_also_after_kill_9(place: Place) -> None:
    changes = (*SHORT, "silence_share=0.2", "augment.share=0.5", "spec_augment=0.5", "export.quantization=float32")
    recognizer.run(place.config("unbroken", *changes))
    assert dev(place.folder / "unbroken", "dev_loss") == pytest.approx([5.97933, 5.69016], rel=2e-3)

    command = [sys.executable, "-m", "tests.finetune.tiny_whisper", "5", *place.overrides("killed", *changes)]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == -9
    killed = place.config("killed", *changes)
    assert checkpoint.load(Path(killed.run) / "checkpoint.pt")["progress"]["step"] == 4
    recognizer.run(killed, resume=True)
    assert dev(place.folder / "killed", "dev_loss") == dev(place.folder / "unbroken", "dev_loss")
    for name, tensor in load_file(place.folder / "unbroken/export/hf/model.safetensors").items():
        assert torch.equal(tensor, load_file(place.folder / "killed/export/hf/model.safetensors")[name]), name


async def test_what_is_exported_hears_as_the_trainer_and_becomes_a_pack(
    place: Place, learnt: Path, tmp_path: Path
) -> None:
    facts = json.loads((learnt / "facts.json").read_text())
    assert dev(learnt, "dev_wer") == [0.0]
    assert facts["parity"] == {"int8": {"clips": 8, "same": 8, "ties": 0, "refused": 0, "limit": 0.0}}
    assert facts["export"] == ["hf", "recognizer"]
    assert json.loads((place.data.parent / "ledger.jsonl").read_text().splitlines()[0])["event"] == "run"
    settings = tmp_path / "pack.toml"
    text = (starter().folder / "pack.toml").read_text().replace('language = "en"', 'language = "de"')
    settings.write_text(text.replace('second_opinion = "pocketsphinx"', ""))
    weights = {"recognizer": learnt, "language": starter().language_folder, "voice": starter().voice_folder}
    build(tmp_path, "tones@1", settings=settings, weights=weights)
    pack = find_pack(tmp_path, "tones@1")
    assert (pack.recognizer.trained_short, pack.recognizer.language_token) == (True, "en")
    engine = connect.load_recognizer(pack, "whisper", device="cpu")
    rows = list(utterances([str(place.data)], place.config("x").training).dev)
    for row in rows:
        recognition = await engine.start(language="de")
        recognition.feed(pcm_of(row))
        transcript = await recognition.finish()
        assert (transcript.text, transcript.language) == (row.text, "de")


def test_an_export_that_hears_otherwise_is_taken_back(
    place: Place, learnt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = recognizer_export.save

    def damaged(whisper: Any, tokenizer: Any, base: Path, folder: Path) -> None:
        """What a faulty conversion would write: one matrix with another sign."""
        save(whisper, tokenizer, base, folder)
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith("encoder_attn.v_proj.weight"))
        save_file({**weights, name: -weights[name]}, folder / "model.safetensors", {"format": "pt"})

    shutil.copytree(learnt, tmp_path / "run")
    monkeypatch.setattr(recognizer_export, "save", damaged)
    made = dataclasses.replace(place.config("learnt", *LEARNT), run=str(tmp_path / "run"))
    with pytest.raises(ParityError, match=r"recognizer: in clip dev-\d the exported model hears .* allows 0\.5$"):
        recognizer.run(made, resume=True)
    assert not (tmp_path / "run/export").exists()


def test_another_text_is_as_far_behind_as_its_least_likely_token(place: Place, learnt: Path) -> None:
    made = place.config("learnt", *LEARNT)
    network, tokenizer = load(learnt / "export/hf", made)
    encoder = Encoder(tokenizer.backend_tokenizer, False, "words")
    rows = utterances([str(place.data)], made.training).dev
    probe = recognizer_export.probes_of(rows, Windows(80, 40), 1)[0]
    network.eval()
    assert recognizer_export.heard_by_trainer(network, encoder, probe) == SAID[0]
    assert recognizer_export.nats_behind(network, encoder, probe, SAID[0]) == 0.0
    assert recognizer_export.nats_behind(network, encoder, probe, SAID[1]) > 1.0
    with pytest.raises(ExportError, match="got no clip of dev with sound"):
        recognizer_export.probes_of([], Windows(80, 40), 1)


def test_adapters_are_merged_and_what_is_frozen_stays(place: Place, learnt: Path) -> None:
    made = place.config(
        "lora", *SHORT, "training.steps=2", "training.evaluate_every=2", "training.learning_rate=1e-4", "method=lora",
        "frozen=[model.encoder.layers.0.*, model.encoder.conv*]", "lora.r=4", "export.quantization=float32",
        "export.parity_clips=2", "dev_clips=2", f"base={learnt / 'export/hf'}",
    )  # fmt: skip
    recognizer.run(made)
    before = load_file(learnt / "export/hf/model.safetensors")
    after = load_file(Path(made.run) / "export/hf/model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "model.encoder.layers.1.fc1.weight" in changed
    assert all(name.endswith((*made.lora.target_modules,)) for name in (n.removesuffix(".weight") for n in changed))
    assert not any(name.startswith("model.encoder.layers.0.") for name in changed)
    assert json.loads((Path(made.run) / "facts.json").read_text())["parity"]["float32"]["same"] == 2


def test_what_cannot_be_trained_is_refused(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for faults, message in (
        (["frozen=[model.encoder.layers.7.*]"], r"frozen: 'model\.encoder\.layers\.7\.\*' matches no weight"),
        (["frozen=['*']"], "leaves no weight to train"),
        (["method=lora", "lora.target_modules=[query]"], r"no module query, expected some of .*q_proj"),
        (["language_token=nl"], "expected none: prompts of this base name no language"),
        (["base=no such/model at all"], "expected a folder or the name of a model"),
        ([f"base={place.data.parent}"], "is no Whisper that transformers loads"),
    ):
        with pytest.raises(ConfigError, match=message):
            recognizer.run(place.config("x", *faults))
    for fault, message in (
        ("rows=0", "rows: got 0, expected 1 or more"),
        ("silence_share=1", "silence_share: got 1.0, expected 0 to less than 1"),
        ("rehearsal.share=1", r"rehearsal\.share: got 1\.0"),
        ("augment.share=2", r"augment\.share: got 2\.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            place.config("x", fault)
    with pytest.raises(ConfigError, match="expected at most one of the two"):
        place.config("x", "language_token=nl", "new_token_like=nl")
    with pytest.raises(ConfigError, match="expected full: adapters leave embeddings alone"):
        place.config("x", "new_token_like=nl", "method=lora")
    mixed = write_data(tmp_path, SAID[:2], language="fr", name="french")
    with pytest.raises(DataError, match="got clips in de, fr, expected one language"):
        recognizer.run(place.config("x", f"data=[{place.data}, {mixed}]"))
    assert main(["recognizer", "--config", str(TINY), "rows=x"]) == 1
    assert "rows: got 'x', expected a whole number" in capsys.readouterr().err
    assert not (place.folder / "x/config.yaml").exists()


def test_the_command_says_what_a_run_would_take(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    asked = place.overrides("dry", "rows=2", "dev_clips=2", f"base={starter().folder}")
    assert main(["recognizer", "--config", str(TINY), *asked, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "8 clips of 0.00 h, 0 of 0.00 h to rehearse" in said
    assert "trained    3,959,424 of 3,959,424 parameters" in said
    assert not (place.folder / "dry").exists()
    for name in ("recognizer.yaml", "recognizer_tiny.yaml"):
        config.load(recognizer.Config, REPOSITORY / "finetune/configs" / name)
