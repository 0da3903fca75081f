"""The recipe for Coqui's voices on the real classes: pinned numbers, kill -9 and resume, a voice heard by a caller.

Run by `make test-coqui`, in the environment of Coqui.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from app import REPOSITORY
from app.__main__ import main
from app.audio import REALTIME_RATE, to_waveform
from app.packs import find_pack
from app.supervisor import free_port
from app.workers.connect import reach_synthesizer
from finetune import checkpoint, config
from finetune.data.errors import DataError
from finetune.data.ledger import Ledger
from finetune.data.manifest import read_utterances
from finetune.errors import ConfigError, ParityError
from finetune.recipes import synthesizer_coqui
from finetune.recipes.synthesizer_coqui_batches import Batches
from finetune.recipes.synthesizer_coqui_export import compare
from finetune.recipes.synthesizer_coqui_voice import load
from tests.engines import coqui_models
from tests.engines.coqui_data import TINY, write_data
from tests.engines.synthesizer_cases import pcm_of
from tests.engines.test_coqui_service import running, until_up
from tests.packs import starter
from tests.realtime import calling
from tests.service.test_serve import served
from tests.sounds import flite

SHORT = ("training.steps=4", "training.evaluate_every=2", "training.save_every=2", "training.log_every=1")
LETTERS = "text_encoder.emb.weight"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ of two speakers, and base.json: the tiny size, saying a text the same way each time."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("coqui")
    write_data(folder / "data", ("anna", "ben"))
    values = json.loads(TINY.with_suffix(".json").read_text())
    values["model_args"] |= {"inference_noise_scale": 0.0, "inference_noise_scale_dp": 0.0}
    (folder / "base.json").write_text(json.dumps(values))
    return folder


def overrides(place: Path, name: str, *others: str) -> list[str]:
    manifest = place / "data/manifest.jsonl"
    return [f"run={place / name}", f"base={place / 'base.json'}", f"data=[{manifest}]", *SHORT, *others]


def configured(place: Path, name: str, *others: str) -> synthesizer_coqui.Config:
    return config.load(synthesizer_coqui.Config, TINY, overrides(place, name, *others))


def measured(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    synthesizer_coqui.run(configured(place, "unbroken"))
    return place / "unbroken"


def test_a_few_steps_give_these_numbers(trained: Path, place: Path) -> None:
    rows = measured(trained)
    losses = [row["loss"] for row in rows if "mel_loss" in row]
    distances = [row["dev_mel_distance"] for row in rows if "dev_mel_distance" in row]
    assert losses == pytest.approx([163.6031, 167.1103, 159.4137, 165.6277], rel=1e-3)
    assert distances == pytest.approx([2.92171, 2.83009], rel=1e-3)
    facts = json.loads((trained / "facts.json").read_text())
    assert facts["parity"] == {"voice": {"clips": 2, "same": 2, "ties": 0, "refused": 0, "limit": 0.0}}
    assert facts["recipe"] == "synthesizer"
    assert set(facts["data"]) == {str(place / "data/manifest.jsonl"), "base"}
    anna = Ledger(place / "data/ledger.jsonl").speakers()["anna"]
    assert facts["fingerprint"] in anna.runs


def test_a_killed_run_resumes_to_the_same_bits(trained: Path, place: Path) -> None:
    command = [sys.executable, "-m", "tests.engines.coqui_data", "3", *overrides(place, "killed")]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == -9
    assert not (place / "killed/export").exists()
    synthesizer_coqui.run(configured(place, "killed"), resume=True)
    assert measured(place / "killed") == measured(trained)
    voices = [load_file(run / "export/voice/model.safetensors") for run in (trained, place / "killed")]
    assert voices[0].keys() == voices[1].keys()
    assert all(torch.equal(voices[0][name], voices[1][name]) for name in voices[0])


def test_what_is_frozen_is_not_trained_and_speaks_all_the_same(place: Path) -> None:
    synthesizer_coqui.run(configured(place, "frozen", "training.steps=2", "frozen=[waveform_decoder.*]"))
    learnt = checkpoint.load(place / "frozen/checkpoint.pt")["weights"]
    assert any(name.startswith("generator.text_encoder.") for name in learnt)
    assert not any(name.startswith("generator.waveform_decoder.") for name in learnt)
    assert json.loads((place / "frozen/facts.json").read_text())["parity"]["voice"]["same"] == 2
    with pytest.raises(ConfigError, match=r"frozen: 'encoder\.\*' matches no weight, expected one like emb_g"):
        synthesizer_coqui.run(configured(place, "nothing", "frozen=[encoder.*]"))


def test_an_export_that_speaks_otherwise_is_taken_back(trained: Path, place: Path) -> None:
    before = load_file(trained / "export/voice/model.safetensors")
    otherwise = configured(place, "unbroken", "export.parity_difference=-1", "export.weights=best")
    with pytest.raises(ParityError, match=r"differs from what the trainer says .* parity_difference allows -1"):
        synthesizer_coqui.run(otherwise, resume=True)
    assert not (trained / "export").exists()
    with pytest.raises(ParityError, match="has 9 samples, expected the trainer's 10"):
        compare("a", np.zeros(10, np.float32), np.zeros(9, np.float32), 0.1)
    synthesizer_coqui.run(configured(place, "unbroken"), resume=True)  # a finished run: it is exported anew
    after = load_file(trained / "export/voice/model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


async def test_the_voice_becomes_a_pack_and_is_heard_by_a_caller(trained: Path, tmp_path: Path) -> None:
    build = ["packs", f"--packs={tmp_path}", "build", "hum@1", f"--like={starter().folder}", f"--voice={trained}"]
    assert main(build) == 0
    pack = find_pack(tmp_path, "hum@1")
    assert (pack.voice.engine, pack.voice.names, pack.voice.sample_rate) == ("coqui-vits", ("ben", "anna"), 16_000)
    port = free_port()
    where = [f"--packs={tmp_path}", "--pack=hum@1"]
    worker = [sys.executable, "-m", "app", "synthesizer", *where, f"--port={port}", "--device=cpu"]
    url = f"http://127.0.0.1:{port}"
    with running(worker) as process:
        health = await until_up(url, process)
        async with served(*where, f"--synthesizer={url}") as (gateway, _), calling(gateway) as caller:
            await caller.say(flite("what is twelve plus thirty"), then_silence=1.0)
            done = await caller.until("response.done")
            replied = caller.text("response.output_audio_transcript.delta")
            expected = await pcm_of(reach_synthesizer(url), replied)
    assert health["engine"] == "coqui-vits"
    assert (done["response"]["status"], "42" in replied) == ("completed", True)
    deltas = [base64.b64decode(event["delta"]) for event in caller.all("response.output_audio.delta")]
    heard = to_waveform(b"".join(deltas))
    assert len(heard) / REALTIME_RATE == pytest.approx(len(expected) / 2 / 16_000, rel=0.2)  # spoken clause by clause
    assert float(np.abs(heard).max()) > 0.001


def test_new_letters_and_speakers_grow_a_base_whose_rows_stay(trained: Path, place: Path) -> None:
    rows = list(read_utterances(place / "data/manifest.jsonl"))
    base = str(trained / "export/voice")
    old = load_file(trained / "export/voice/model.safetensors")
    spoken = [replace(row, text="ça va ñandú 7", speaker="carl") for row in rows[:2]]
    with pytest.raises(ConfigError, match=r"cannot spell 7 ç ñ ú, expected all .* extend_characters=true"):
        load(base, spoken, (), extend=False)
    voice = load(base, spoken, (), extend=True)
    assert (voice.names, voice.speakers) == (("carl",), {"ben": 0, "anna": 1, "carl": 2})
    state, vocabulary = voice.model.state_dict(), voice.model.tokenizer.characters
    assert len(state[LETTERS]) == len(old[LETTERS]) + 4
    before = load(base, rows, (), extend=False)
    for letter in "aöz !":
        number = before.model.tokenizer.characters.char_to_id(letter)
        assert torch.equal(state[LETTERS][vocabulary.char_to_id(letter)], old[LETTERS][number])
    assert torch.equal(state["emb_g.weight"][:2], old["emb_g.weight"])
    assert torch.equal(state["flow.flows.0.pre.weight"], old["flow.flows.0.pre.weight"])


def test_a_checkpoint_brings_the_network_that_it_was_trained_against(trained: Path, place: Path) -> None:
    rows = list(read_utterances(place / "data/manifest.jsonl"))
    state = torch.load(trained / "checkpoint.pt", weights_only=True)["weights"]
    folder = place / "checkpoint"
    folder.mkdir()
    for name in ("config.json", "speakers.json"):
        (folder / name).write_bytes((trained / "export/voice" / name).read_bytes())
    named = {name.replace("generator.", "").replace("discriminator.", "disc."): state[name] for name in state}
    torch.save({"model": named}, folder / "model.pth")
    voice = load(str(folder), rows, (), extend=False)
    for network, prefix in ((voice.model, "generator."), (voice.discriminator, "discriminator.")):
        assert all(torch.equal(tensor, state[prefix + name]) for name, tensor in network.state_dict().items())


def test_a_base_of_one_speaker_learns_to_tell_several_apart(place: Path) -> None:
    rows = list(read_utterances(place / "data/manifest.jsonl"))
    base = coqui_models.vits(place / "single")
    voice = load(str(base), rows, (), extend=True)
    assert voice.speakers == {"ben": 0, "anna": 1}  # most speech first
    old, new = load_file(base / "model.safetensors"), voice.model.state_dict()
    assert torch.equal(new["flow.flows.0.pre.weight"], old["flow.flows.0.pre.weight"])


def test_a_voice_of_the_mms_project_is_a_base(place: Path) -> None:
    rows = list(read_utterances(place / "data/manifest.jsonl"))
    base = coqui_models.mms(place / "mms")
    with pytest.raises(ConfigError, match="got ben, anna, expected one: a voice of MMS has no others"):
        load(str(base), rows, (), extend=True)
    anna = [row for row in rows if row.speaker == "anna"]
    with pytest.raises(ConfigError, match="cannot spell ö"):
        load(str(base), [replace(anna[0], text="schön")], (), extend=False)
    voice = load(str(base), [replace(anna[0], text="schön")], (), extend=True)
    assert voice.files["vocab.txt"].endswith("'\nö\n")
    old, new = load_file(base / "model.safetensors"), voice.model.state_dict()
    assert torch.equal(new[LETTERS][: len(old[LETTERS])], old[LETTERS])
    assert voice.model.config.audio.sample_rate == 16_000


def test_what_cannot_be_learnt_is_left_out_or_refused(place: Path) -> None:
    rows = list(read_utterances(place / "data/manifest.jsonl"))
    asked = configured(place, "x", "longest_s=0.8")
    voice = load(asked.base, rows, ("anna",), extend=True)
    odd = [replace(rows[0], text="x" * 90), replace(rows[0], text="§")]
    made = Batches(voice, [*rows, *odd], asked, "train")
    assert made.summary() == (
        "3 clips, 0.0 minutes, 1 voice; left out: 1 longer than 0.8 s, 4 of other speakers, 1 too short for their "
        "texts, 1 without a letter"
    )
    with pytest.raises(DataError, match=r"got no clip of split dev to use; left out: 2 longer than 0\.1 s"):
        Batches(voice, rows[:3:2], configured(place, "x", "longest_s=0.1"), "dev")
    with pytest.raises(ConfigError, match="the data has no carl, only anna, ben"):
        synthesizer_coqui.run(configured(place, "x", "speakers=[carl]"))
    with pytest.raises(ConfigError, match="expected a folder or the name of a model"):
        load("no such/model at all", rows, (), extend=False)


def test_the_command_says_what_a_run_would_take(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "synthesizer", "--config", str(TINY), *overrides(place, "dry"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("6 clips, 0.1 minutes, 2 voices\nsteps      4, ")
    assert not (place / "dry").exists()
