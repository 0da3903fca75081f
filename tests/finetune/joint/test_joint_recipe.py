"""The joint recipe on flite's voices: all stages, kill -9 and resume in them, rungs, exports that make a pack."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch

from app import REPOSITORY
from app.audio import REALTIME_RATE, to_waveform
from app.pack_build import build
from app.talk import ANSWERED, talk
from finetune import checkpoint
from finetune.data.errors import DataError
from finetune.data.ledger import Ledger
from finetune.data.manifest import read_dialogues, write_manifest
from finetune.errors import ConfigError, RunError
from finetune.joint.edges import Edge
from finetune.recipes import joint
from finetune.recipes.joint_config import Edges
from finetune.recipes.joint_losses import EDGES, Step
from finetune.recipes.joint_pairs import pairs_of
from finetune.recipes.joint_parts import Parts, load_language, models_of
from finetune.recipes.joint_together import texts_of, together
from tests.finetune.joint import tiny
from tests.finetune.joint.place import EVERY, Place, facts, metrics
from tests.finetune.joint.test_joint_processes import two
from tests.service.test_serve import served
from tests.sounds import flite, silence


@pytest.fixture(scope="module")
def unbroken(place: Place) -> Path:
    """All stages in one go, with edges in every second step."""
    made = place.begun("unbroken", *EVERY)
    joint.run(made)
    return Path(made.run)


@pytest.fixture(scope="module")
def cached(place: Place) -> Path:
    """Stages one and two."""
    made = place.begun("cached", "rung=cached")
    joint.run(made)
    return Path(made.run)


@pytest.fixture(scope="module")
def full(place: Place) -> Path:
    """All stages, with edges in every step."""
    made = place.begun("full", "rung=full")
    joint.run(made)
    return Path(made.run)


@pytest.fixture(scope="module")
def parts(place: Place) -> Parts:
    return together(joint.below(place.begun("parts", "hypotheses=3")))


def test_the_staged_rung_leaves_three_exports_of_the_separate_recipes(place: Place) -> None:
    run = place.folder / "staged"
    assert (facts(run)["rung"], facts(run)["stages"]) == ("staged", ["separate"])
    for model, file in (("recognizer", "model.bin"), ("language", "model.bin"), ("voice", "voice.json")):
        assert (run / model / "export" / model / file).is_file()
        assert facts(run / model)["parity"]


def test_all_stages_leave_three_exports_that_make_a_pack(place: Place, unbroken: Path, tmp_path: Path) -> None:
    found = facts(unbroken)
    assert found["rung"] == "every"
    assert found["stages"][0] == "separate"
    weights = {model: unbroken / model for model in joint.MODELS}
    pack = build(tmp_path, "joint@1", settings=REPOSITORY / "models/packs/en-starter", weights=weights)
    assert pack.reference == "joint@1"
    rows = metrics(unbroken / "joint")
    assert [row["step"] for row in rows] == [0, 1, 2, 2]
    for edge in ("transcript", "chain", "reply_to_voice", "unpaired", "unpaired_chain"):
        assert [f"{edge}_loss" in row for row in rows[1:3]] == [True, False]
    for edge in ("transcript", "chain", "unpaired"):  # the gate lets nothing through in its first step
        assert [row[f"{edge}_crossing_norm"] > 0 for row in rows[1:3]] == [True, False]
    for model in joint.MODELS:
        assert rows[1][f"{model}_gradient_norm"] > 0
        runs = Ledger(place.data / "ledger.jsonl").speakers()["slt"].runs
        assert facts(unbroken / model)["fingerprint"] in runs
        assert facts(unbroken / model)["speakers"] == ["awb", "kal16", "rms", "slt"]
        runs = Ledger(place.folder / "unpaired/ledger.jsonl").speakers()["awb"].runs
        assert facts(unbroken / model)["fingerprint"] in runs
    assert list(found["data"]) == [f"{place.folder}/unpaired/manifest.jsonl"]


def test_killed_in_every_stage_it_comes_to_the_same_bits(place: Place, unbroken: Path) -> None:
    killed = place.begun("killed", *EVERY)
    for stage in ("noisy", "joint", "finish"):
        program = [sys.executable, "-m", "tests.finetune.joint.tiny_joint", stage, "1"]
        command = [*program, *place.overrides("killed", *EVERY)]
        assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == -9
        assert checkpoint.load(Path(killed.run) / stage / "checkpoint.pt")["progress"]["step"] == 1
    joint.run(killed, resume=True)
    for stage in ("noisy", "joint", "finish"):
        assert metrics(Path(killed.run) / stage) == metrics(unbroken / stage)
        one, other = (checkpoint.load(run / stage / "checkpoint.pt")["weights"] for run in (Path(killed.run), unbroken))
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert facts(Path(killed.run))["stages"] == facts(unbroken)["stages"]


def test_two_processes_go_through_all_stages(place: Place) -> None:
    run = Path(place.begun("two", *EVERY).run)
    assert two("tests.finetune.joint.tiny_joint", "none", "0", *place.overrides("two", *EVERY)) == [0, 0]
    for stage in ("noisy", "joint", "finish"):
        state = checkpoint.load(run / stage / "checkpoint.pt")
        assert (state["processes"], state["progress"]["done"]) == (2, True)
    assert ["transcript_loss" in row for row in metrics(run / "joint")[1:3]] == [True, False]  # in both processes
    assert facts(run)["stages"][0] == "separate"
    assert all(facts(run / model)["parity"] and (run / model / "export" / model).is_dir() for model in joint.MODELS)


def test_the_cached_rung_needs_no_edges_and_exports_too(cached: Path) -> None:
    assert (cached / "hypotheses.json").is_file()
    assert not (cached / "joint").exists()
    assert all((cached / model / "export" / model).is_dir() for model in joint.MODELS)


async def test_every_rung_leaves_a_pack_that_answers_parley_talk(
    place: Place, unbroken: Path, cached: Path, full: Path, tmp_path: Path
) -> None:
    runs = {"full": full, "every": unbroken, "cached": cached, "staged": place.folder / "staged"}
    for rung, run in runs.items():
        assert facts(run)["rung"] == rung
        weights = {model: run / model for model in joint.MODELS}
        build(tmp_path, f"{rung}@1", settings=REPOSITORY / "models/packs/en-starter", weights=weights)
    question = tmp_path / "question.wav"
    soundfile.write(question, to_waveform(silence(0.5) + flite("what time is it")), REALTIME_RATE)
    async with served("--packs", str(tmp_path), "--pack", "full@1") as (url, _):
        for rung in runs:
            reply, said = tmp_path / f"{rung}.wav", list[str]()
            outcome = await talk([question], url=url, out=reply, api_key="", model=f"{rung}@1", write=said.append)
            assert outcome == ANSWERED, said
            assert soundfile.info(reply).frames > 0


def reached(parts: Parts, edge: str, detach: bool) -> set[str]:
    """Which models get a gradient from one edge alone, at its full scale."""
    edges = Edges(**{edge: Edge(weight=1.0, detach=detach)})
    changed = dataclasses.replace(parts, config=dataclasses.replace(parts.config, edges=edges))
    models = models_of(changed)
    tiny.forget(models)
    step = Step(changed, separate=(), edges=EDGES)
    torch.nn.init.normal_(parts.gate.out.weight)  # at zero it lets nothing through yet
    losses = step.losses(0, step.batch(0))
    assert set(losses) == {f"{edge}_loss"}
    (loss,) = losses.values()
    if loss.requires_grad:
        loss.backward()
    return {name for name, model in models.items() if tiny.norm(model.parameters()) > 0}


def test_gradients_reach_exactly_what_each_edge_says(parts: Parts) -> None:
    assert reached(parts, "transcript", detach=False) == {"recognizer", "language"}
    assert reached(parts, "transcript", detach=True) == {"language"}
    assert reached(parts, "chain", detach=False) == {"voice", "recognizer"}
    assert reached(parts, "chain", detach=True) == {"recognizer"}
    assert reached(parts, "reply_to_voice", detach=False) == {"language", "gate", "voice", "recognizer"}
    assert reached(parts, "reply_to_voice", detach=True) == {"gate", "voice", "recognizer"}
    parts.recognizer.network.whisper.model.decoder.layer_norm.weight.data.mul_(0.3)  # less certain: several hypotheses
    assert reached(parts, "sequence", detach=False) == {"recognizer"}
    assert reached(parts, "sequence", detach=True) == set()


def test_replies_after_text_and_transcript_are_to_agree(parts: Parts) -> None:
    edges = Edges(transcript=Edge(weight=1.0), agreement=1.0)
    step = Step(
        dataclasses.replace(parts, config=dataclasses.replace(parts.config, edges=edges)), separate=(), edges=EDGES
    )
    batches = (step.batch(number) for number in range(6))
    batch = next(one for one in batches if len({pair.clip.text for pair in one["pairs"]}) > 1)
    same = step.losses(0, batch)["agreement_loss"]
    assert same.item() == pytest.approx(0, abs=1e-4)  # what was heard is what was said
    swapped = {**batch, "mels": batch["mels"].flip(0), "windows": batch["windows"][::-1]}  # each says the other's words
    other = step.losses(0, swapped)["agreement_loss"]
    assert other.item() > 1e-3
    assert other.requires_grad


def test_refusals(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"edges.agreement: got a weight without one of edges.transcript"):
        place.config("refused", "edges.transcript.weight=0")
    with pytest.raises(ConfigError, match="got recognizer, recognizer, voice, expected three names"):
        joint.below(place.config("refused", "language.run=recognizer"))
    resolved = joint.below(place.config("resolved"))
    assert joint.below(resolved) == resolved  # the config.yaml of a run can be given again
    with pytest.raises(ConfigError, match="rows: got 0, expected 1 or more"):
        place.config("refused", "rows=0")
    with pytest.raises(ConfigError, match=r"texts: .* cannot be read"):
        texts_of(place.config("refused", "texts=[nowhere.txt]"), [], [])
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="got no line in"):
        texts_of(place.config("refused", f"texts=[{tmp_path}/empty.txt]"), [], [])
    with pytest.raises(RunError, match="has been used; --resume continues"):
        joint.run(place.config("staged", "rung=staged"))
    with pytest.raises(RunError, match=r"another configuration: training.steps: 2 -> 3"):
        joint.run(place.config("staged", "rung=staged", "voice.training.steps=3"), resume=True)


def test_dialogues_that_nobody_says_are_refused(place: Place) -> None:
    made = joint.below(place.begun("strange"))
    rows = [
        dataclasses.replace(row, turns=tuple(dataclasses.replace(turn, text=turn.text + " x") for turn in row.turns))
        for row in read_dialogues(place.data / "dialogues.jsonl")
    ]
    with pytest.raises(DataError, match="got no dialogue whose last request is the text of a clip"):
        pairs_of([], rows)
    write_manifest(place.folder / "other.jsonl", rows)
    changed = dataclasses.replace(made.language, data=(str(place.folder / "other.jsonl"),))
    with pytest.raises(RunError, match="is a run on other data"):
        load_language(changed)
