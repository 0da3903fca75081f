"""A joint run whose voice is Coqui's, on the real classes: all stages, gradients, what is served, a pack that speaks.

Run by `make test-coqui`, in the environment of Coqui.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from app import REPOSITORY
from app.audio import to_waveform
from app.pack_build import build
from app.packs import find_pack
from app.workers.base import Synthesizer
from app.workers.connect import load_synthesizer
from finetune import config
from finetune.data.errors import DataError
from finetune.data.manifest import read_utterances, write_manifest
from finetune.errors import RunError
from finetune.joint.chain_edge import Voice
from finetune.recipes import joint, synthesizer_coqui_config
from finetune.recipes.joint_config import Config
from finetune.recipes.joint_part_coqui import CoquiPart, load_coqui
from finetune.recipes.joint_parts import Parts, run_of
from finetune.recipes.joint_voice_coqui import CoquiVoice
from finetune.recipes.synthesizer_coqui_voice import load
from tests.engines import coqui_models
from tests.engines.synthesizer_cases import pcm_of
from tests.finetune.joint import tiny
from tests.finetune.joint.place import SHORT, facts, metrics
from tests.finetune.joint.test_joint_recipe import reached
from tests.finetune.joint.tiny_joint import TINY, overrides, write_data

TEXT = "hello anna, it is three"
VOICE = (
    "voice={engine: coqui-vits, run: voice, base: finetune/configs/synthesizer_coqui_tiny.json, licence: CC0-1.0, "
    "extend_characters: true, rows: 2, export: {parity_texts: 2}, training: {steps: 2, learning_rate: 2e-4, "
    "clip_norm: 1000, evaluate_every: 2, save_every: 2, threads: 1, device: cpu}}"
)
STAY = ("posterior_encoder.", "emb_g.")


def configured(place: Path, name: str, *others: str) -> Config:
    """A joint run on the tiny data in `place`."""
    short = [override for override in SHORT if not override.startswith("voice.")]
    return config.load(Config, TINY, [VOICE, *overrides(place / name, place / "data", *short, *others)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a run `whole` with all stages."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("joint")
    write_data(folder / "data")
    joint.run(configured(folder, "staged", "rung=staged"))
    shutil.copytree(folder / "staged", folder / "whole")
    for name in ("config.yaml", "facts.json"):
        (folder / "whole" / name).unlink()
    joint.run(configured(folder, "whole", "rung=full", "recognizer_clips=true"))
    return folder


@pytest.fixture(scope="module")
def parts(place: Path) -> Parts:
    shutil.copytree(place / "staged", place / "parts")
    return joint.together(joint.below(configured(place, "parts")))


@pytest.fixture(scope="module")
def voice(parts: Parts) -> CoquiVoice:
    assert isinstance(parts.voice, CoquiPart)
    return parts.voice.model


@pytest.fixture(scope="module")
def served(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    """The voice of a pack that was built of the run without edges: its weights are those that `parts` begins with."""
    return synthesizer_of(place / "staged", tmp_path_factory.mktemp("packs"))


def synthesizer_of(run: Path, packs: Path) -> Synthesizer:
    weights = {model: run / model for model in joint.MODELS}
    build(packs, "joint@1", settings=REPOSITORY / "models/packs/en-starter", weights=weights)
    pack = find_pack(packs, "joint@1")
    assert pack.voice.engine == "coqui-vits"
    return load_synthesizer(pack, device="cpu", threads=1, accepted_licences=(pack.voice.licence,))


async def test_all_stages_leave_a_pack_whose_voice_speaks(place: Path, tmp_path: Path) -> None:
    run = place / "whole"
    assert facts(run)["rung"] == "full"
    rows = metrics(run / "joint")
    assert all(np.isfinite(row["dev_voice_loss"]) for row in rows if "dev_voice_loss" in row)
    for row in rows[1:3]:
        assert row["chain_crossing_norm"] > 0
        assert row["voice_gradient_norm"] > 0
        assert 0 < row["voice_loss"] < 100
    assert metrics(run / "finish")[1]["chain_loss"] > 0
    assert facts(run / "voice")["parity"]["voice"]["same"] == 2
    assert len(await pcm_of(synthesizer_of(run, tmp_path), TEXT)) > 1000


def test_what_no_text_goes_through_stays(place: Path) -> None:
    before, after = (load_file(place / run / "voice/export/voice/model.safetensors") for run in ("staged", "whole"))
    stay = [name for name in before if name.startswith(STAY)]
    assert stay
    assert all(torch.equal(before[name], after[name]) for name in stay)
    taken = set(facts(place / "whole")["stages"]) & {"joint", "finish"}
    assert bool(taken) == (not torch.equal(before["text_encoder.emb.weight"], after["text_encoder.emb.weight"]))


async def test_it_says_what_is_served(voice: CoquiVoice, served: Synthesizer) -> None:
    checked: Voice = voice
    voice.train()  # dropout is not for what is heard
    torch.manual_seed(3)
    (made,) = checked.speak([TEXT])
    torch.manual_seed(3)
    theirs = to_waveform(await pcm_of(served, TEXT))
    assert made.shape == theirs.shape
    assert np.abs(made.detach().numpy() - theirs).max() < 1e-3
    assert voice.vits.training
    assert [len(one) > 0 for one in checked.speak(["?!", "ja"])] == [False, True]


def test_gradients_reach_the_text_side_unless_detached(parts: Parts, voice: CoquiVoice) -> None:
    assert reached(parts, "chain", detach=False) == {"voice", "recognizer"}
    for part in ("text_encoder", "flow", "waveform_decoder"):
        assert tiny.norm(getattr(voice.vits, part).parameters()) > 0
    for part in ("duration_predictor", "posterior_encoder", "emb_g"):
        assert tiny.norm(getattr(voice.vits, part).parameters()) == 0
    assert reached(parts, "chain", detach=True) == {"recognizer"}
    assert reached(parts, "reply_to_voice", detach=False) == {"language", "gate", "voice", "recognizer"}


def test_its_own_loss_reaches_rhythm_too_and_leaves_the_discriminator(parts: Parts, voice: CoquiVoice) -> None:
    tiny.forget(voice)
    task = parts.voice.task
    voice.train()
    loss, clips = task.loss(task.model, task.batch(0))
    (loss / clips).backward()  # type: ignore[no-untyped-call]
    for part in ("text_encoder", "flow", "waveform_decoder", "duration_predictor"):
        assert tiny.norm(getattr(voice.vits, part).parameters()) > 0
    assert tiny.norm(voice.discriminator.parameters()) == 0
    voice.eval()
    with torch.no_grad():
        measured, again = task.dev(task.model), task.dev(task.model)
    assert next(iter(measured)) == "dev_loss"
    assert measured["dev_loss"] > measured["dev_mel_distance"] > 0  # the text side counts
    assert again == measured


def test_what_is_added_changes_what_is_said(voice: CoquiVoice) -> None:
    count = len(voice.symbols(TEXT))

    def said(added: torch.Tensor | None) -> torch.Tensor:
        torch.manual_seed(5)
        return voice.speak([TEXT], None if added is None else [added])[0]

    added = torch.zeros(count, voice.width, requires_grad=True)
    plain, same = said(None), said(added)
    assert torch.equal(plain, same)
    same.square().sum().backward()  # type: ignore[no-untyped-call]
    assert added.grad is not None
    assert (added.grad.abs().sum(1) > 0).float().mean() > 0.9
    other = said(added.detach() + 1)
    assert len(other) != len(plain) or not torch.equal(plain, other)


def test_each_symbol_has_its_letters_bytes(voice: CoquiVoice) -> None:
    text = "Für 3, ja"
    spans = voice.symbols(text)
    letters = [text.encode()[begin:end].decode() for begin, end in spans]
    assert len(spans) == len(voice._tokens(text))
    assert letters[0::2] == [""] * len(letters[0::2])  # blanks
    assert letters[1::2] == ["Fü", "r", " ", ",", " ", "j", "a"]  # the voice knows neither F nor ü nor 3
    assert voice.symbols("...") == []


def test_a_voice_of_the_mms_project_speaks_and_is_spelt(place: Path) -> None:
    rows = [row for row in read_utterances(place / "data/manifest.jsonl") if row.speaker == "slt"]
    mms = CoquiVoice(load(str(coqui_models.mms(place / "mms")), rows, (), extend=False), "en")
    (made,) = mms.speak(["Ja."])
    assert (mms.rate, mms.width, len(made) > 0) == (16_000, 192, True)
    assert [one for one in mms.symbols("Ja.") if one[1] > one[0]] == [(0, 1), (1, 2)]


def test_the_best_weights_of_its_run_are_those_that_it_exported(place: Path) -> None:
    made = joint.below(configured(place, "staged", "voice.export.weights=best")).voice
    assert isinstance(made, synthesizer_coqui_config.Config)
    run = run_of(made)
    last, best = (load_coqui(one, run) for one in (dataclasses.replace(made, export=type(made.export)()), made))
    assert torch.equal(*(part.model.vits.text_encoder.emb.weight for part in (last, best)))  # two steps: the same
    untrained = load_coqui(made, run, trained=False)
    assert not torch.equal(*(part.model.vits.text_encoder.emb.weight for part in (last, untrained)))


def test_other_data_or_several_languages_are_refused(place: Path) -> None:
    made = joint.below(configured(place, "staged")).voice
    assert isinstance(made, synthesizer_coqui_config.Config)
    rows = list(read_utterances(place / "data/manifest.jsonl"))
    write_manifest(place / "data/other.jsonl", rows[1:])
    with pytest.raises(RunError, match="is a run on other data"):
        load_coqui(dataclasses.replace(made, data=(str(place / "data/other.jsonl"),)), run_of(made))
    values = json.loads((REPOSITORY / made.base).read_text())
    values["model_args"] |= {"use_language_embedding": True, "num_languages": 2}
    (place / "many").mkdir()
    (place / "many/config.json").write_text(json.dumps(values))
    (place / "many/languages.json").write_text(json.dumps({"en": 0, "de": 1}))
    write_manifest(
        place / "data/two.jsonl",
        [dataclasses.replace(row, language="de" if i % 2 else "en") for i, row in enumerate(rows)],
    )
    asked = dataclasses.replace(made, base=str(place / "many"), data=(str(place / "data/two.jsonl"),))
    with pytest.raises(DataError, match="got recordings in de, en, expected one language"):
        load_coqui(asked, run_of(asked), trained=False)
